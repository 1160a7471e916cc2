// The player. `main` is the clock; the shared screen is a second video that is kept in step with it.
const recording = data.recording;
const file = name => list(data.files).find(file => file.name === name);
const camera = $("camera"), screen_ = $("screen"), stage = $("stage");
const main = file("recording.mp4") ? camera : file("audio.m4a") ? $("sound") : screen_;
const beside = file("screenshare.mp4") && main !== screen_ ? screen_ : null;
const total = () => Number.isFinite(main.duration) ? main.duration : recording.duration_ms / 1000;
/** How far the screen may be off: above the first its speed is bent, above the second it jumps. In seconds. */
const BEND = 0.02, JUMP = 0.3;

function seek(seconds) {
  main.currentTime = Math.min(Math.max(seconds, 0), Math.max(total() - 0.05, 0));
  tick();
}

function toggle() {
  if (main.paused) main.play().catch(fault); else main.pause();
}

function fault() {
  const error = main.error;
  $("fault").hidden = false;
  $("fault").textContent = error && error.code === 4
    ? "The file cannot be played: it is not there, the link has expired, or this browser does not know its format."
    : `The file cannot be played${error ? ` (error ${error.code})` : ""}.`;
}

/** Brings the shared screen to where the clock is. */
function step() {
  if (!beside || beside.readyState < 1) return;
  const end = Number.isFinite(beside.duration) ? beside.duration : total();
  const target = Math.min(main.currentTime, Math.max(end - 0.02, 0)), off = beside.currentTime - target;
  const waits = main.paused || main.seeking || main.readyState < 3;
  if ($("screen-pane").hidden || waits || main.currentTime >= end - 0.02) {
    if (!beside.paused) beside.pause();
    if (!$("screen-pane").hidden && Math.abs(off) > 0.01 && !beside.seeking) beside.currentTime = target;
    return;
  }
  if (beside.paused) beside.play().catch(() => {});
  if (beside.seeking) return;
  if (Math.abs(off) > JUMP) {
    beside.currentTime = target;
  } else {
    const bend = Math.abs(off) > BEND ? Math.min(Math.max(-2 * off, -0.3), 0.3) : 0;
    const rate = main.playbackRate * (1 + bend);
    if (Math.abs(beside.playbackRate - rate) > (bend ? 0.02 : 0.001)) beside.playbackRate = rate;
  }
}

/** Who has a screen shared when: Zoom's events, or where pictures came. */
const shares = (() => {
  const said = list(data.people.sharing).map(share => [share.start_ms, share.end_ms]);
  if (said.length || !file("screenshare.mp4")) return said;
  const spans = [];
  let at = 0;
  for (const gap of list(recording.gaps).filter(gap => gap.track === "share" && gap.end_ms - gap.start_ms > 15000)) {
    if (gap.start_ms > at) spans.push([at, gap.start_ms]);
    at = Math.max(at, gap.end_ms);
  }
  if (at < recording.duration_ms) spans.push([at, recording.duration_ms]);
  return spans;
})();

/** Shows what there is to be seen now. */
function arrange() {
  const ms = main.currentTime * 1000, wanted = $("view").value;
  const shared = shares.some(([start, end]) => ms >= start - 100 && ms < end);
  const screen = Boolean(file("screenshare.mp4")) && (main === screen_ || (wanted === "screen" || (wanted === "both" && shared)));
  const other = main === camera && wanted !== "screen" || (main === camera && !screen);
  $("screen-pane").hidden = !screen;
  $("camera-pane").hidden = !other;
  stage.classList.toggle("both", screen && main !== screen_ && (other || main !== camera));
}

let after = 0;
function tick() {
  const ms = main.currentTime * 1000;
  $("now").textContent = clock(ms);
  if (document.activeElement !== $("seek") || !dragging) $("seek").value = main.currentTime;
  $("seek").setAttribute("aria-valuetext", `${clock(ms)} of ${clock(total() * 1000)}`);
  arrange();
  step();
  onTime.forEach(hear => hear(ms));
}
function run() {
  tick();
  after = main.paused ? 0 : requestAnimationFrame(run);
}
/** Who wants to know the position; called with milliseconds. */
const onTime = [];
let dragging = false;

function player() {
  for (const [element, name] of [[camera, "recording.mp4"], [$("sound"), "audio.m4a"], [screen_, "screenshare.mp4"]]) {
    if (file(name) && (element === main || element === beside)) element.src = file(name).href;
  }
  const any = Boolean(main.getAttribute("src"));
  $("nothing").hidden = any;
  $("controls").hidden = $("keys").hidden = !any;
  $("sound-pane").hidden = main !== $("sound") || !any;
  stage.classList.toggle("sounds", main === $("sound") || !any);
  if (file("poster.jpg") && main !== $("sound")) main.poster = file("poster.jpg").href;
  $("view-pick").hidden = !(beside && main === camera);
  $("full").hidden = !stage.requestFullscreen;
  // The stage keeps its shape when somebody begins to share.
  stage.classList.toggle("shares", Boolean(beside) && main === camera);
  if (main === screen_) screen_.muted = false;
  $("length").textContent = clock(recording.duration_ms);
  $("seek").max = recording.duration_ms / 1000;

  main.addEventListener("durationchange", () => { $("seek").max = total(); $("length").textContent = clock(total() * 1000); });
  main.addEventListener("error", fault);
  main.addEventListener("play", () => { $("controls").classList.add("playing"); $("play").setAttribute("aria-label", "Pause"); if (!after) run(); });
  main.addEventListener("pause", () => { $("controls").classList.remove("playing"); $("play").setAttribute("aria-label", "Play"); tick(); });
  // Frames are not drawn in a tab behind others, but these come.
  for (const name of ["timeupdate", "seeking", "seeked", "ratechange", "waiting", "playing", "loadedmetadata"]) main.addEventListener(name, tick);
  if (beside) for (const name of ["loadedmetadata", "seeked", "canplay"]) beside.addEventListener(name, step);

  $("play").addEventListener("click", toggle);
  stage.addEventListener("click", event => { if (any && event.target.closest(".pane")) toggle(); });
  $("seek").addEventListener("pointerdown", () => { dragging = true; });
  $("seek").addEventListener("pointerup", () => { dragging = false; });
  $("seek").addEventListener("input", () => seek(Number($("seek").value)));
  $("speed").addEventListener("change", () => { main.playbackRate = Number($("speed").value); });
  $("view").addEventListener("change", tick);
  $("mute").addEventListener("click", () => { main.muted = !main.muted; });
  main.addEventListener("volumechange", () => {
    $("mute").setAttribute("aria-pressed", String(main.muted));
    $("mute").classList.toggle("muted", main.muted);
  });
  $("full").addEventListener("click", () => {
    if (document.fullscreenElement) document.exitFullscreen(); else stage.requestFullscreen().catch(() => {});
  });
  tick();
}

/** What each key does. */
const keys = {
  " ": toggle, k: toggle,
  ArrowLeft: () => seek(main.currentTime - 5), ArrowRight: () => seek(main.currentTime + 5),
  j: () => seek(main.currentTime - 30), l: () => seek(main.currentTime + 30),
  Home: () => seek(0), End: () => seek(total()),
  ",": () => chapter(-1), ".": () => chapter(1),
  m: () => $("mute").click(), c: () => $("captions").click(), f: () => $("full").click(),
  "/": () => { $("search").focus(); $("search").select(); },
};
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const on = event.target;
  if (on === $("search")) {
    if (event.key === "Escape") { $("search").value = ""; $("search").dispatchEvent(new Event("input")); on.blur(); }
    return;
  }
  // What has the focus goes first: buttons take the space bar, the slider and tabs the arrows, lists scroll.
  const own = event.key === " " ? "button, a, select, [tabindex]" : event.key.length > 1 ? "input, select, [role=tab], [role=tabpanel]" : "select";
  if (on.closest && on.closest(own)) return;
  const action = keys[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});
