// What it is, what is missing from it, and the files.
const PRODUCTS = { meeting: "Meeting", webinar: "Webinar", session: "Video SDK session", contact_center: "Contact Center call", phone: "Phone call" };
const CAUSES = {
  not_sent: "Zoom sent nothing (muted, camera off, nobody sharing)",
  paused: "a user paused the stream",
  connection: "the connection to Zoom was down",
  no_key_frame: "pictures came that cannot be decoded without an earlier one",
  disk: "the recorder's disk took nothing",
};
const FILES = {
  "recording.mp4": "Picture and sound", "audio.m4a": "Sound", "screenshare.mp4": "Shared screen", "transcript.vtt": "Transcript (WebVTT)",
  "transcript.json": "Transcript (JSON)", "chat.txt": "Chat (text)", "chat.json": "Chat (JSON)", "timeline.json": "Timeline (JSON)",
  "poster.jpg": "Picture", "journal.tar.zst": "Journal: all that was received", "manifest.json": "Manifest: sizes, SHA-256, gaps",
};
const own = (table, key) => Object.hasOwn(table, key) ? table[key] : undefined;

function missing() {
  const sums = new Map(), everybodys = gap => gap.cause !== "not_sent" || !String(gap.track).startsWith("audio/");
  for (const gap of list(recording.gaps).filter(everybodys)) {
    const key = `${gap.track}\n${gap.cause}`;
    if (!sums.has(key)) sums.set(key, { ...gap, ms: 0, at: [] });
    sums.get(key).ms += gap.end_ms - gap.start_ms;
    sums.get(key).at.push(gap);
  }
  const lost = gap => !["not_sent", "paused"].includes(gap.cause);
  const item = sum => {
    const share = recording.duration_ms ? sum.ms / recording.duration_ms : 0;
    const whole = share > 0.995 ? "all of it" : length(sum.ms);
    const few = sum.at.slice().sort((a, b) => (b.end_ms - b.start_ms) - (a.end_ms - a.start_ms)).slice(0, 8).sort((a, b) => a.start_ms - b.start_ms);
    const places = el("p", {}, ...few.map(gap => el("button", { type: "button", title: length(gap.end_ms - gap.start_ms), onclick: () => seek(gap.start_ms / 1000) }, clock(gap.start_ms))));
    if (sum.at.length > few.length) places.append(` and ${sum.at.length - few.length} more`);
    return el("li", {}, `${trackName(sum.track)}, ${whole}: ${own(CAUSES, sum.cause) || sum.cause}.`, places);
  };
  const all = [...sums.values()].sort((a, b) => lost(b) - lost(a) || b.ms - a.ms);
  const box = $("missing");
  box.append(el("p", {}, recording.complete ? "Everything that Zoom sent is here." : "Not everything that Zoom sent is here."));
  if (list(recording.incomplete_because).length) box.append(el("ul", {}, ...recording.incomplete_because.map(why => el("li", { dir: "auto" }, why.slice(0, 1000)))));
  if (all.length) box.append(el("p", { class: "note" }, "Filled with silence, black, or the last picture:"), el("ul", {}, ...all.map(item)));
  // Nobody speaks all the time.
  if (!list(recording.gaps).every(everybodys)) box.append(el("p", { class: "note" }, "The sound of each participant is silent where Zoom sent nothing of them."));
  for (const note of list(recording.notes)) box.append(el("p", { class: "note" }, note));
}

function about() {
  // The day and time are beside it, by the clock of the reader.
  $("title").textContent = document.title.split(", ")[0];
  const chip = el("span", { class: recording.complete ? "chip" : "chip warn" }, recording.complete ? "Complete" : "Incomplete");
  $("facts").append(el("span", {}, day(recording.started_at)), el("span", {}, clock(recording.duration_ms)));
  const there = list(data.people.participants).length;
  if (there) $("facts").append(el("span", {}, there === 1 ? "1 person" : `${there} people`));
  $("facts").append(chip);
  if (!recording.complete) {
    $("incomplete").hidden = false;
    $("incomplete").append(el("strong", {}, "Something is missing. "),
      ...list(recording.incomplete_because).slice(0, 5).flatMap(why => [el("bdi", {}, why.slice(0, 300)), " "]));
  }
  missing();
  for (const one of list(data.files)) {
    const what = own(FILES, one.name) || (one.name.startsWith("participants/") ? one.name.slice(13) : one.name);
    const length = one.duration_ms && /mp4|m4a/.test(one.name) ? `${clock(one.duration_ms)} · ` : "";
    $("files").append(el("li", {}, el("a", { href: one.href, download: one.name.split("/").pop(), rel: "noopener noreferrer", class: "name", title: one.name }, what),
      el("span", { class: "time" }, one.size_bytes === undefined ? "" : length + bytes(one.size_bytes))));
  }
  const neighbour = which => {
    const one = recording[which];
    return one && (data.neighbours[which] ? el("a", { href: data.neighbours[which], title: "There once that recording is published" }, one.folder) : one.folder);
  };
  const row = (name, value) => value ? $("details").append(el("dt", {}, name), el("dd", { dir: "auto" }, value)) : null;
  row("What", own(PRODUCTS, recording.product) || recording.product);
  row("Number", recording.meeting_id);
  row("UUID", recording.meeting_uuid || recording.session_id || recording.engagement_id || recording.call_id);
  row("Began", day(recording.started_at));
  row("Ended", recording.ended_at ? day(recording.ended_at) : "not known");
  row("Why it ended", recording.stop_reason && recording.stop_reason.meaning);
  row("Stream", recording.stream_id);
  row("Goes on from", neighbour("continues"));
  row("Goes on in", neighbour("continued_by"));
  row("Made by", recording.recorder && `${recording.recorder.name} ${recording.recorder.version}`);
  if (data.links_until) row("Links work until", day(data.links_until));
}

about();
player();
lanes();
speaking();
texts();
tick();
