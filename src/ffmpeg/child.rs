//! One ffmpeg process, from its start to its end.

use super::{Error, Input, Output, Settings};
use bytes::{Buf, Bytes, BytesMut};
use rustix::process::{Pid, Signal};
use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use tracing::debug;

/// How much of the end of standard error is kept, in bytes.
const TAIL_MAX: usize = 4 << 10;

/// How long a child may take to end after it closed its input, and one to go away after it was killed.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How much is read from a pipe at once: what a pipe holds.
const READ_SIZE: usize = 64 << 10;

/// A running ffmpeg. Dropped, it kills the child and all that the child has started.
#[derive(Debug)]
pub struct Child {
    step: String,
    process: Process,
    stdin: Option<ChildStdin>,
    pipes: Pipes,
    stall: Duration,
}

/// What comes from a child.
#[derive(Debug)]
struct Pipes {
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    output: BytesMut,
    output_max: usize,
    tail: BytesMut,
}

/// A process that takes its group with it.
#[derive(Debug)]
struct Process(tokio::process::Child);

impl Child {
    pub(super) fn spawn(
        settings: &Settings,
        step: &str,
        args: &[OsString],
        input: Input,
        output: Output,
    ) -> Result<Self, Error> {
        let spawned = Command::new(&settings.program)
            .args(args)
            .stdin(match input {
                Input::Null => Stdio::null(),
                Input::Pipe => Stdio::piped(),
            })
            .stdout(match output {
                Output::Null => Stdio::null(),
                Output::Collect => Stdio::piped(),
            })
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn();
        let mut child = spawned.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Error::NotFound { program: settings.program.clone() },
            _ => Error::Spawn { step: step.to_owned(), program: settings.program.clone(), source },
        })?;
        let pipes = Pipes {
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            output: BytesMut::new(),
            output_max: settings.output_max,
            tail: BytesMut::new(),
        };
        let stdin = child.stdin.take();
        let process = Process(child);
        process.be_nice(settings.nice);
        debug!(pid = process.0.id(), step, "started ffmpeg");
        Ok(Self { step: step.to_owned(), process, stdin, pipes, stall: settings.stall })
    }

    /// The process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.0.id()
    }

    /// Writes all of `data` to the child's standard input, at the child's pace, and meanwhile reads what it writes.
    ///
    /// Not cancel safe: a part may have been written. Drop the child then, and after an error.
    ///
    /// # Errors
    /// [`Error::Exited`] if the child has ended, with whatever status; [`Error::Stalled`] if it takes nothing for
    /// [`Settings::stall`]; [`Error::TooMuchOutput`] if nobody takes its output.
    pub async fn write(&mut self, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            let Some(stdin) = &mut self.stdin else {
                return Err(self.ended_early().await);
            };
            // Progress is a byte taken: a child that only talks does not get on.
            let written = timeout(self.stall, async {
                tokio::select! {
                    biased;
                    failed = self.pipes.drain() => Err(failed),
                    written = stdin.write(data) => Ok(written),
                }
            });
            match written.await {
                Ok(Ok(Ok(count))) if count > 0 => data = &data[count..],
                Ok(Ok(Ok(_))) => return Err(self.ended_early().await),
                Ok(Ok(Err(err))) if err.kind() == io::ErrorKind::BrokenPipe => return Err(self.ended_early().await),
                Ok(Ok(Err(source)) | Err(Failed::Read(source))) => return Err(self.pipe_error(source)),
                Ok(Err(Failed::TooMuch)) => return Err(self.too_much()),
                Err(_) => {
                    let after = self.stall;
                    let (step, tail) = self.kill().await;
                    return Err(Error::Stalled { step, after, tail });
                }
            }
        }
        Ok(())
    }

    /// What the child has written to its standard output and was read, since the last call: during
    /// [`Self::write`], that is. Empty with [`Output::Null`].
    pub fn take_output(&mut self) -> Bytes {
        self.pipes.output.split().freeze()
    }

    /// Ends the child's input and waits for its end; returns what is left of its output.
    ///
    /// Cancel safe: dropped, it kills the child.
    ///
    /// # Errors
    /// [`Error::Exited`] if it ended with an error; [`Error::TimedOut`] if it did not end within `grace`;
    /// [`Error::TooMuchOutput`].
    pub async fn finish(mut self, grace: Duration) -> Result<Bytes, Error> {
        self.stdin = None;
        match timeout(grace, self.end()).await {
            Ok(Ok(status)) if status.success() => Ok(self.take_output()),
            Ok(Ok(status)) => Err(self.exited(status)),
            Ok(Err(Failed::TooMuch)) => Err(self.too_much()),
            Ok(Err(Failed::Read(source))) => Err(self.pipe_error(source)),
            Err(_) => {
                let (step, tail) = self.kill().await;
                Err(Error::TimedOut { step, grace, tail })
            }
        }
    }

    /// Reads to the end of both pipes, then waits. What a grandchild keeps open is waited for, too.
    async fn end(&mut self) -> Result<ExitStatus, Failed> {
        while self.pipes.is_open() {
            self.pipes.read().await?;
        }
        self.process.0.wait().await.map_err(Failed::Read)
    }

    /// The child closed its input before it had all of it: waits for its reasons.
    async fn ended_early(&mut self) -> Error {
        self.stdin = None;
        match timeout(LAST_WORDS, self.end()).await {
            Ok(Ok(status)) => self.exited(status),
            Ok(Err(Failed::TooMuch)) => self.too_much(),
            Ok(Err(Failed::Read(source))) => self.pipe_error(source),
            Err(_) => {
                let (step, tail) = self.kill().await;
                Error::TimedOut { step, grace: LAST_WORDS, tail }
            }
        }
    }

    /// Kills the group and reads what it had still said; for the text of an error.
    async fn kill(&mut self) -> (String, String) {
        self.process.kill_group();
        // Fails only if the system does not let go of the process, and the error is on its way already.
        timeout(LAST_WORDS, self.end()).await.ok();
        (self.step.clone(), self.pipes.tail())
    }

    fn exited(&self, status: ExitStatus) -> Error {
        Error::Exited { step: self.step.clone(), status, tail: self.pipes.tail() }
    }

    fn too_much(&self) -> Error {
        self.process.kill_group();
        Error::TooMuchOutput { step: self.step.clone(), max_bytes: self.pipes.output_max }
    }

    fn pipe_error(&self, source: io::Error) -> Error {
        self.process.kill_group();
        Error::Pipe { step: self.step.clone(), source, tail: self.pipes.tail() }
    }
}

/// Why reading stopped.
#[derive(Debug)]
enum Failed {
    TooMuch,
    Read(io::Error),
}

impl Pipes {
    fn is_open(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// Reads until something is wrong. Cancel safe.
    async fn drain(&mut self) -> Failed {
        while self.is_open() {
            if let Err(failed) = self.read().await {
                return failed;
            }
        }
        std::future::pending().await
    }

    /// Reads what is there from either pipe, or waits for it. Cancel safe.
    async fn read(&mut self) -> Result<(), Failed> {
        tokio::select! {
            ended = read_some(&mut self.stdout, &mut self.output, READ_SIZE) => {
                if ended? {
                    self.stdout = None;
                }
            }
            ended = read_some(&mut self.stderr, &mut self.tail, TAIL_MAX) => {
                if ended? {
                    self.stderr = None;
                }
                self.tail.advance(self.tail.len().saturating_sub(TAIL_MAX));
            }
        }
        if self.output.len() > self.output_max { Err(Failed::TooMuch) } else { Ok(()) }
    }

    fn tail(&self) -> String {
        String::from_utf8_lossy(&self.tail).into_owned()
    }
}

/// Reads some bytes; says whether there are none any more. A pipe that has ended is nothing to wake up for.
async fn read_some(
    pipe: &mut Option<impl AsyncRead + Unpin>,
    into: &mut BytesMut,
    size: usize,
) -> Result<bool, Failed> {
    into.reserve(size);
    match pipe {
        Some(pipe) => pipe.read_buf(into).await.map(|count| count == 0).map_err(Failed::Read),
        None => std::future::pending().await,
    }
}

impl Process {
    /// The group has the process's own id. There is none once the process was waited for: the id may be another's.
    fn group(&self) -> Option<Pid> {
        self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
    }

    fn be_nice(&self, nice: i32) {
        let Some(group) = self.group() else { return };
        let own = rustix::process::getpriority_process(None).unwrap_or(0);
        if let Err(err) = rustix::process::setpriority_pgrp(Some(group), own.saturating_add(nice).min(19)) {
            debug!(%err, "could not lower the priority of ffmpeg");
        }
    }

    fn kill_group(&self) {
        if let Some(group) = self.group() {
            // Fails only if there is nothing to kill any more.
            rustix::process::kill_process_group(group, Signal::KILL).ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
    }
}
