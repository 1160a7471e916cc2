// Who spoke when, who shared, and what is missing, one under the other; and the list of what happened.
const LANES = 8;
const names = new Map();
for (const person of list(data.people.participants)) names.set(person.user_id, person.user_name || person.user_id);

const nameOf = (id, name) => plain(name || names.get(id) || id || "somebody");
const colours = new Map();
/** The colour of a person, the same in all places. Neighbours in the list differ most. */
function colour(id) {
  if (!colours.has(id)) colours.set(id, `hsl(${(210 + colours.size * 137.5) % 360} 58% 52%)`);
  return colours.get(id);
}
function dot(id) {
  const element = el("span", { class: "dot" });
  element.style.setProperty("--colour", colour(id));
  return element;
}

/** Stretches of one person, joined where hardly anything is between. */
function joined(stretches, between) {
  const all = [];
  for (const one of stretches) {
    const last = all[all.length - 1];
    if (last && one.start_ms - last.end_ms <= between && one.start_ms >= last.start_ms) last.end_ms = Math.max(last.end_ms, one.end_ms);
    else all.push({ ...one });
  }
  return all;
}

function lanes() {
  const length = Math.max(recording.duration_ms, 1), box = $("lanes"), rest = [];
  const lane = (name, spans, paint) => {
    const track = el("div", { class: "track" });
    for (const span of joined(spans, length / 2000)) {
      const bar = el("i", { class: span.class });
      bar.style.left = `${100 * Math.max(span.start_ms, 0) / length}%`;
      bar.style.width = `${100 * Math.max(Math.min(span.end_ms, length) - Math.max(span.start_ms, 0), 0) / length}%`;
      if (paint) bar.style.setProperty("--colour", paint);
      track.append(bar);
    }
    return el("div", { class: "lane" }, el("span", { title: name.slice(0, 200), dir: "auto" }, name.slice(0, 200)), track);
  };
  const lost = list(recording.gaps).filter(gap => !["not_sent", "paused"].includes(gap.cause)).map(gap => ({ ...gap, class: "lost" }));
  // What speakers and pictures have lanes for is left out.
  const marks = el("div", { class: "track marks" });
  for (const one of happened.filter(one => !one.isTurn).slice(0, 1000)) {
    const mark = el("i", { class: "mark" });
    mark.style.left = `${100 * Math.min(Math.max(one.at_ms, 0) / length, 1)}%`;
    Object.assign(mark.dataset, { at: Math.max(one.at_ms, 0) / 1000, text: `${clock(one.at_ms)} ${one.text}` });
    marks.append(mark);
  }
  if (marks.children.length) box.append(el("div", { class: "lane" }, el("span", {}, "Chapters"), marks));
  const sharing = shares.map(([start_ms, end_ms]) => ({ start_ms, end_ms }));
  if (sharing.length) box.append(lane("Screen share", sharing));
  const spoke = new Map();
  for (const stretch of list(data.people.speakers)) {
    const id = stretch.user_id || stretch.user_name || "";
    if (!spoke.has(id)) spoke.set(id, { name: nameOf(stretch.user_id, stretch.user_name), ms: 0, spans: [] });
    spoke.get(id).spans.push({ start_ms: stretch.start_ms, end_ms: stretch.end_ms });
    spoke.get(id).ms += stretch.end_ms - stretch.start_ms;
  }
  [...spoke].sort((a, b) => b[1].ms - a[1].ms).forEach(([id, who], index) => {
    const made = lane(who.name, who.spans, colour(id));
    made.hidden = index >= LANES;
    if (made.hidden) rest.push(made);
    box.append(made);
  });
  if (lost.length) box.append(lane("Missing", lost));
  // Without a length nothing has a place on it.
  if (!recording.duration_ms) box.replaceChildren();
  if (!box.children.length) return;
  if (rest.length) {
    $("more-lanes").hidden = false;
    $("more-lanes").textContent = `${rest.length} more who spoke`;
    $("more-lanes").addEventListener("click", () => { rest.forEach(made => { made.hidden = false; }); $("more-lanes").hidden = true; });
  }
  const head = el("div", { class: "head" });
  box.append(head);
  const bounds = () => box.querySelector(".track").getBoundingClientRect();
  const at = event => { const { left, width } = bounds(); return Math.min(Math.max((event.clientX - left) / width, 0), 1); };
  box.addEventListener("click", event => seek(event.target.dataset.at ? Number(event.target.dataset.at) : at(event) * total()));
  box.addEventListener("pointermove", event => { box.title = event.target.dataset.text || clock(at(event) * length); });
  onTime.push(ms => {
    const { left, width } = bounds();
    head.style.left = `${left - box.getBoundingClientRect().left - 1 + width * Math.min(ms / length, 1)}px`;
  });
  addEventListener("resize", tick);
}

/** Says who speaks, where there is no picture. */
function speaking() {
  const turns = list(data.people.speakers);
  onTime.push(ms => {
    if ($("sound-pane").hidden) return;
    const turn = turns.find(turn => ms >= turn.start_ms && ms < turn.end_ms);
    const text = turn ? nameOf(turn.user_id, turn.user_name).slice(0, 200) : turns.length ? "" : "Sound only";
    if ($("speaking").textContent !== text) $("speaking").textContent = text;
  });
}

/** What happened, in order: `{ at_ms, text, id, isTurn }`. */
const happened = (() => {
  // Without media there is no end that anything could be behind.
  const all = [], end = recording.duration_ms || Infinity;
  // Isolated, so that names that read from right to left leave the words around them in place.
  const called = (id, name) => `\u2068${nameOf(id, name).slice(0, 80)}\u2069`;
  const add = (at_ms, text, id, isTurn = false) => { if (at_ms <= end + 1000) all.push({ at_ms, text, id, isTurn }); };
  for (const person of list(data.people.participants)) for (const stay of list(person.present)) {
    const name = called(person.user_id, person.user_name);
    if (typeof stay.start_ms === "number") add(stay.start_ms, `${name} joined`, person.user_id);
    if (stay.until) add(stay.end_ms, `${name} left`, person.user_id);
  }
  for (const share of list(data.people.sharing)) {
    const name = called(share.user_id, share.user_name);
    add(share.start_ms, `${name} shared a screen`, share.user_id);
    if (share.until) add(share.end_ms, `${name} stopped sharing`, share.user_id);
  }
  let last;
  for (const turn of list(data.people.speakers)) {
    const id = turn.user_id || turn.user_name;
    if (id !== last && turn.end_ms - turn.start_ms >= 1500) { add(turn.start_ms, `${called(turn.user_id, turn.user_name)} spoke`, id, true); last = id; }
  }
  for (const pause of list(data.pauses)) add(pause.start_ms, pause.end_ms > pause.start_ms
    ? `Paused for ${length(pause.end_ms - pause.start_ms)}` : "Paused here; what was paused is cut out");
  for (const gap of list(recording.gaps)) if (!["not_sent", "paused"].includes(gap.cause) && gap.end_ms - gap.start_ms >= 500) {
    add(gap.start_ms, `${trackName(gap.track)} missing for ${length(gap.end_ms - gap.start_ms)}`);
  }
  return all.sort((a, b) => a.at_ms - b.at_ms);
})();

/** To the next or the previous of what happened. */
function chapter(direction) {
  const now = main.currentTime * 1000, times = happened.map(one => Math.max(one.at_ms, 0));
  const found = direction > 0 ? times.find(at => at > now + 300) : times.reverse().find(at => at < now - 1500);
  if (found !== undefined) seek(found / 1000); else if (direction < 0) seek(0);
}

function trackName(track) {
  const known = { audio: "Sound", video: "Camera", share: "Screen share" };
  if (Object.hasOwn(known, track)) return known[track];
  return `Sound of ${nameOf(String(track).replace(/^audio\//, ""))}`;
}
