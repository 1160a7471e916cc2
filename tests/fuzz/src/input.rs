//! Bytes read as decisions. When they are used up every decision is 0, so each input means something.

/// What is left of an input.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn u8(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    pub fn u16(&mut self) -> u16 {
        u16::from(self.u8()) << 8 | u16::from(self.u8())
    }

    pub fn flag(&mut self) -> bool {
        self.u8() & 1 == 1
    }

    /// Below `limit`.
    pub fn below(&mut self, limit: u16) -> u16 {
        let n = if limit > 256 { self.u16() } else { self.u8().into() };
        n % limit
    }

    pub fn i64(&mut self) -> i64 {
        (0..8).fold(0, |n, _| n << 8 | i64::from(self.u8()))
    }

    /// A step of time in ms: mostly a little, sometimes hours, rarely anything at all.
    pub fn step_ms(&mut self) -> i64 {
        match self.u8() {
            n @ 0..200 => i64::from(n),
            200..230 => i64::from(self.u16()) - 0x8000,
            230..240 => -i64::from(self.u8()),
            240..254 => i64::from(self.u16()) * 2500 - 40_000_000,
            _ => self.i64(),
        }
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[usize::from(self.below(from.len() as u16))].clone()
    }

    /// At most `len` bytes.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A length, then so many bytes at most.
    pub fn chunk(&mut self) -> &'a [u8] {
        let len = self.u8();
        self.bytes(len.into())
    }

    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.chunk()).into_owned()
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}

/// Writes what [`Input`] reads, for seeds.
#[derive(Default)]
pub struct Seed(pub Vec<u8>);

impl Seed {
    pub fn u8(mut self, n: u8) -> Self {
        self.0.push(n);
        self
    }

    pub fn chunk(mut self, bytes: &[u8]) -> Self {
        let len = bytes.len().min(255);
        self.0.push(len as u8);
        self.0.extend_from_slice(&bytes[..len]);
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}
