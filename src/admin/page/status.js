"use strict";
// All of the page comes from /api/events; what it does goes to the same API.
const cards = new Map(), open = new Map();
let state = null, heard = 0;

const name = r => plain(r.meeting_id || r.session_key || r.stream_id);
const kind = r => ({ meeting: "Meeting", webinar: "Webinar", session: "Session" })[r.product] || r.product.replace(/_/g, " ");
const since = ms => Math.max(0, state.now_ms - ms);
const chip = (text, bad, title) => el("span", { class: bad ? "chip warn" : "chip", title }, text);
// What waits for its next attempt has failed, too.
const section = r => ({ recording: "recording", published: "finished", deleted: "finished" })[r.state] || (r.trouble || r.state === "failed" ? "failed" : "finishing");
const PICTURE_MS = 10000;

/** The parts of a card; those that would flicker or lose their place are made once. */
function card(r) {
  let made = cards.get(r.id);
  if (made && made.section === section(r)) return made;
  made?.root.remove();
  made = { section: section(r), root: el("article", { class: "card", id: `r-${r.id}` }), body: el("div", { class: "body" }) };
  if (made.section === "recording") {
    made.shot = el("div", { class: "shot" }, "No picture");
    made.root.append(made.shot);
  }
  made.buttons = el("p", { class: "buttons" });
  made.root.append(made.body);
  (made.section === "finished" ? made.root : made.body).append(made.buttons);
  made.facts = el("div", { class: "body" });
  made.body.prepend(made.facts);
  cards.set(r.id, made);
  return made;
}

/** The newest picture takes the place of the last one once it is there. Each costs the recorder a moment: only what is looked at is asked for. */
function picture(made, r) {
  const turn = Math.floor(Date.now() / PICTURE_MS), { top, bottom } = made.root.getBoundingClientRect();
  if (made.turn === turn || document.hidden || bottom < 0 || top > innerHeight) return;
  made.turn = turn;
  const image = new Image();
  image.alt = `What ${name(r)} shows`;
  image.onload = () => made.shot.replaceChildren(image);
  image.src = `/api/recordings/${r.id}/picture?${turn}`;
}

function head(r, ...more) {
  return el("div", { class: "head" }, el("b", { title: r.stream_id }, name(r)), el("span", { class: "soft" }, kind(r)), ...more);
}

function trouble(r) {
  return r.trouble ? el("div", { class: "trouble" }, `${r.trouble.why.replace(/\.$/, "")}. ${r.trouble.next}`) : null;
}

function connections(r) {
  return el("div", { class: "chips" }, ...list(r.connections).map(c => {
    const lost = c.lost ? `, lost ${c.lost === 1 ? "once" : `${c.lost} times`}` : "";
    const text = c.up ? c.name + lost : `${c.name} down for ${length(since(c.since_ms))}`;
    return chip(text, !c.up || c.lost > 0, c.because || "");
  }));
}

function level(r) {
  if (r.level_db === undefined) return null;
  const silent = r.level_db === null;
  const meter = el("meter", { min: -60, max: 0, low: -50, value: silent ? -60 : Math.max(-60, r.level_db), "aria-label": "Sound level" });
  return el("div", { class: "level" }, meter, silent ? "no sound comes" : `${Math.round(r.level_db)} dB`);
}

/** The picture that is shown may be old. */
function seen(r) {
  const last = Math.max(0, ...list(r.received).filter(m => m.medium === "video" || m.medium === "share").map(m => m.last_ms));
  return last && since(last) > 15000 ? `last picture ${length(since(last))} ago` : "";
}

const uploading = ({ upload }) => `Uploading: ${bytes(upload.sent_bytes)} of ${bytes(upload.size_bytes)}`;

function gaps(r) {
  const down = list(r.connections).reduce((sum, c) => sum + c.down_ms + (c.lost && !c.up ? since(c.since_ms) : 0), 0);
  if (down >= 1000) return `${length(down)} without a connection`;
  return list(r.connections).some(c => c.lost) ? "less than 1 s without a connection" : "no gaps";
}

const facts = {
  recording(r) {
    const got = list(r.received).reduce((sum, m) => sum + m.bytes, 0);
    const people = list(r.people);
    return [
      head(r, el("span", { class: "time" }, clock(since(r.started_ms)))),
      people.length ? el("p", { class: "people", title: people.map(plain).join(", ") }, `${people.length} ${people.length === 1 ? "person" : "people"}: ${people.map(plain).join(", ")}`) : null,
      level(r), connections(r),
      el("p", { class: "soft" }, [[r.region || r.server, r.round_trip_ms === undefined ? "" : `${Math.round(r.round_trip_ms)} ms away`].filter(Boolean).join(", "), `${bytes(got)} received`, seen(r), gaps(r)].filter(Boolean).join(" · ")),
      r.rendering && r.rendering.behind_ms > 30000 ? el("p", { class: "soft" }, `Rendering is ${length(r.rendering.behind_ms)} behind`) : null,
      trouble(r),
    ];
  },
  finishing(r) {
    const { rendering } = r;
    let what = "Deleting", bar = el("progress", {});
    if (r.state === "uploading") {
      what = uploading(r);
      bar = el("progress", { max: Math.max(1, r.upload.size_bytes), value: r.upload.sent_bytes });
    } else if (r.state === "rendering") {
      what = "Making the files";
      if (rendering && rendering.rendered < rendering.closed) bar = el("progress", { max: rendering.closed, value: rendering.rendered });
    }
    return [head(r, el("span", { class: "soft" }, what)), bar];
  },
  failed(r) {
    const what = { rendering: "Making the files", deleting: "Deleting" }[r.state] || (r.upload ? uploading(r) : "");
    return [head(r, el("span", { class: "soft" }, [day(r.started_ms), what].filter(Boolean).join(" · "))), trouble(r)];
  },
  finished(r) {
    const chips = [];
    if (r.state === "deleted") chips.push(chip("deleted", true));
    else if (r.complete !== undefined) chips.push(chip(r.complete ? "complete" : "incomplete", !r.complete));
    const played = r.duration_ms === undefined ? null : el("span", { class: "time" }, clock(r.duration_ms));
    return [head(r, el("span", { class: "soft" }, day(r.started_ms)), played, ...chips)];
  },
};

function actions(r) {
  const button = (text, act) => el("button", { type: "button", onclick: act }, text);
  const remove = button("Delete", () => ask(r, "DELETE", "", `Delete the recording of ${name(r)}?`,
    "All of it goes, here and in the bucket, and does not come back. A manifest stays that says so.", "Delete"));
  switch (r.state) {
    case "recording": return [button("Stop", () => ask(r, "POST", "/stop", `Stop recording ${name(r)}?`,
      "What there is gets published. Zoom is not told, and the meeting goes on; it is recorded again only if Zoom announces it again.", "Stop")), ...r.trouble ? [retry(r, button)] : [], remove];
    case "rendering":
    case "uploading": return r.trouble ? [retry(r, button), remove] : [remove];
    case "failed": return [retry(r, button), remove];
    case "deleting": return r.trouble ? [retry(r, button)] : [];
    case "published": return [button(open.has(r.id) ? "Close" : "Play", () => toggle(r)), remove];
    default: return [];
  }
}

function retry(r, button) {
  return button("Retry", () => ask(r, "POST", "/retry", `Try ${name(r)} again now?`, "What is in the bucket already is not sent again.", "Retry"));
}

/** What the recorder answers; that it does not is an answer, too. */
async function told(url, how) {
  try {
    const answer = await fetch(url, how);
    return { ok: answer.ok, said: await answer.json() };
  } catch {
    return { ok: false, said: { error: "the recorder does not answer" } };
  }
}

/** Opens a finished recording, or closes it. */
async function toggle(r) {
  const made = cards.get(r.id), there = open.get(r.id);
  if (there) { there.remove(); open.delete(r.id); show(); return; }
  const place = el("div", { class: "wide" }, "Looking into the bucket …");
  open.set(r.id, place);
  made.root.append(place);
  show();
  const answer = await told(`/api/recordings/${r.id}`), found = answer.said;
  if (!answer.ok) { place.replaceChildren(el("div", { class: "trouble" }, found.error)); return; }
  const files = list(found.files), of = wanted => files.find(file => file.name === wanted);
  const main = of("recording.mp4") || of("audio.m4a"), poster = of("poster.jpg");
  const player = main && el(main.name === "recording.mp4" ? "video" : "audio", { controls: "", preload: "metadata", src: main.url, poster: poster && poster.url });
  const because = list(found.incomplete_because);
  place.replaceChildren(...[
    player || "There are no media in it.",
    because.length ? el("div", { class: "trouble" }, because.join(" ")) : null,
    el("p", { class: "files" }, ...files.map(file => el("a", { href: file.url, download: file.name }, `${file.name} (${bytes(file.size_bytes)})`))),
  ].filter(Boolean));
}

/** Does it if the answer is yes. */
function ask(r, method, what, question, consequence, yes) {
  $("question").textContent = question;
  $("consequence").textContent = consequence;
  $("yes").textContent = yes;
  const dialog = $("ask");
  dialog.returnValue = "no";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "yes") return;
    const answer = await told(`/api/recordings/${r.id}${what}`, { method, headers: { "X-Requested-With": "page" } });
    if (!answer.ok) notice(`${name(r)}: ${answer.said.error}`);
  };
  dialog.showModal();
}

function notice(text) {
  const shown = el("p", { class: "notice", role: "alert" }, text);
  $("notices").append(shown);
  setTimeout(() => shown.remove(), 15000);
}

function machine(m) {
  const item = (title, value, bad) => el("li", { class: bad ? "bad" : undefined }, el("small", {}, title), el("b", {}, value));
  const load = list(m.load);
  $("machine").replaceChildren(
    item("Spool", `${bytes(m.spool_free_bytes)} free of ${bytes(m.spool_size_bytes)}`, m.spool_free_bytes < m.spool_min_free_bytes),
    item("Load", load.length ? `${load[0].toFixed(1)} on ${m.processors} processors` : "not known", load[0] > 2 * m.processors),
    item("Waits for the disk", length(m.journal_backlog_ms), m.journal_backlog_ms > 2000),
    item("Waits to be rendered", length(m.render_backlog_ms), m.render_backlog_ms > 60000),
    item("Waits for the bucket", bytes(m.upload_backlog_bytes), Boolean(m.bucket_trouble)),
  );
  const said = [m.unready && `No new stream is recorded: ${m.unready}`, ...list(m.notices)].filter(Boolean).join("\n");
  if ($("notices").dataset.said !== said) {
    $("notices").dataset.said = said;
    $("notices").replaceChildren(...said.split("\n").filter(Boolean).map(text => el("p", { class: "notice" }, text)));
  }
}

/** Puts what is so on the page. */
function show() {
  machine(state.machine);
  const places = {}, counts = {};
  for (const r of list(state.recordings)) {
    const made = card(r), place = (places[made.section] ||= $(made.section).querySelector(".list"));
    const index = counts[made.section] = (counts[made.section] || 0) + 1;
    made.facts.replaceChildren(...facts[made.section](r).filter(Boolean));
    const wanted = r.state + Boolean(r.trouble) + open.has(r.id);
    // A button that is about to be clicked stays.
    if (made.wanted !== wanted) { made.wanted = wanted; made.buttons.replaceChildren(...actions(r)); }
    if (place.children[index - 1] !== made.root) place.insertBefore(made.root, place.children[index - 1] || null);
    if (made.shot) picture(made, r);
    made.seen = heard;
  }
  for (const [id, made] of cards) if (made.seen !== heard) { made.root.remove(); cards.delete(id); open.delete(id); }
  for (const id of ["recording", "failed", "finishing", "finished"]) {
    const count = counts[id] || 0;
    $(id).querySelector("h2 span").textContent = count || "";
    $(id).hidden = !count && id !== "recording";
  }
  $("recording").querySelector(".empty").hidden = Boolean(counts.recording);
  const live = counts.recording || 0;
  document.title = live ? `(${live}) Recorder` : "Recorder";
  $("facts").textContent = state.machine.storage;
  $("foot").textContent = `rtms-recorder ${state.version}, running since ${day(state.since_ms)}, ffmpeg ${state.machine.ffmpeg || "not found"}`;
}

const source = new EventSource("/api/events");
source.addEventListener("state", event => {
  state = JSON.parse(event.data);
  heard += 1;
  $("lost").hidden = true;
  show();
});
source.onerror = async () => {
  $("lost").hidden = false;
  const answer = await fetch("/api/state").catch(() => null);
  if (answer && answer.status === 401) location.reload();
};

