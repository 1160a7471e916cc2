// Transcript, chat, people and what happened: lists that follow the playback, can be searched, and lead into the recording.
/** Each list: its rows as `{ element, at_ms, end_ms, text, draw }`. */
const panels = [];

/** A row that leads to `at_ms`. */
function row(at_ms, at, ...content) {
  const time = el("button", { type: "button", class: "time", title: at ? day(at) : undefined }, clock(at_ms));
  const element = el("div", { class: "row" }, time, el("div", {}, ...content));
  element.addEventListener("click", () => {
    // Who selects text does not want to go there.
    if (String(getSelection())) return;
    seek(Math.max(at_ms, 0) / 1000);
  });
  return element;
}
const who = (id, name) => el("div", { class: "who" }, dot(id || name), el("bdi", { title: name.slice(0, 200) }, name.slice(0, 300)));

function transcript() {
  const said = data.transcript;
  if (!said) return null;
  let last;
  const rows = list(said.cues).map(cue => {
    const name = nameOf(cue.user_id, cue.user_name), same = last === (cue.user_id || name);
    last = cue.user_id || name;
    const text = el("p", { dir: "auto", lang: cue.language });
    const element = row(cue.start_ms, cue.at, same ? null : who(cue.user_id, name), text);
    return { element, at_ms: cue.start_ms, end_ms: cue.end_ms, text: `${name}\n${cue.text}`, draw: wanted => text.replaceChildren(...marked(plain(cue.text), wanted)), cue, name };
  });
  return { id: "transcript", title: "Transcript", rows, notes: losses(said, "said"), empty: "Nothing was said, as far as Zoom's transcript tells." };
}

/** What a text lacks, in words. */
function losses(text, what) {
  const notes = list(text.missing).map(gap => `The connection was down from ${clock(gap.start_ms)} to ${clock(gap.end_ms)}. What was ${what} then is not here.`);
  if (text.left_out_in_pauses) notes.push(`${text.left_out_in_pauses} left out, because the stream was paused.`);
  return notes;
}

function chat() {
  const written = data.chat;
  if (!written) return null;
  const all = list(written.messages), byId = new Map(all.filter(one => one.message_id).map(one => [one.message_id, one]));
  const person = one => nameOf(one && one.user_id, one && one.user_name);
  const rows = all.map(one => {
    const name = person(one.sender), text = el("p", { dir: "auto" });
    const kind = one.session && one.session.type;
    const to = { individual: `to ${person(one.receiver)}`, individual_and_hosts: `to ${person(one.receiver)} and the hosts and panelists`,
      group: "to a group", hosts_and_panelists: "to the hosts and panelists", other: "to some" }[kind] || (one.receiver && kind !== "everyone" ? `to ${person(one.receiver)}` : null);
    const answered = one.parent_message_id && (byId.get(one.parent_message_id) || {});
    const remarks = [one.deleted_at ? "deleted" : one.edited_at ? "edited" : "", ...list(one.files).map(file => file.deleted ? "file (deleted)"
      : `file: ${plain(file.file_name || "without a name")}${file.file_size ? `, ${bytes(file.file_size)}` : ""} (not delivered by Zoom)`)].filter(Boolean);
    const reactions = list(one.reactions).map(reaction => `${plain(reaction.emoji)} ${person(reaction)}`).join("   ");
    const element = row(one.at_ms, one.at, who(one.sender && one.sender.user_id, name),
      to ? el("div", { class: "note", dir: "auto" }, to) : null,
      answered ? el("div", { class: "quote", dir: "auto" }, answered.at ? `${person(answered.sender)}: ${answered.deleted_at ? "(deleted)" : plain(answered.text)}` : "Answers a message that is not here") : null,
      one.text ? text : null,
      ...remarks.map(remark => el("div", { class: "note", dir: "auto" }, remark)),
      reactions ? el("div", { class: "note", dir: "auto" }, reactions) : null);
    return { element, at_ms: one.at_ms, text: [name, one.text, ...remarks].join("\n"), draw: wanted => text.replaceChildren(...marked(plain(one.text || ""), wanted)) };
  });
  return { id: "chat", title: "Chat", rows, notes: losses(written, "written"), empty: "Nothing was written." };
}

function people() {
  const spoken = new Map(), filmed = new Map();
  for (const turn of list(data.people.speakers)) spoken.set(turn.user_id, (spoken.get(turn.user_id) || 0) + turn.end_ms - turn.start_ms);
  for (const on of list(data.people.cameras)) filmed.set(on.user_id, [...filmed.get(on.user_id) || [], on]);
  const go = at => el("button", { type: "button", onclick: () => seek(Math.max(at, 0) / 1000) }, clock(at));
  /** From when to when, with no more than can be taken in. */
  const spans = (what, all) => {
    const note = el("div", { class: "note" });
    all.slice(0, 12).forEach((one, index) => {
      note.append(index ? ", " : what, typeof one.start_ms === "number" ? go(one.start_ms) : "before the start", " to ", one.until ? go(one.end_ms) : "the end");
    });
    if (all.length > 12) note.append(` and ${all.length - 12} more times`);
    return note;
  };
  const rows = list(data.people.participants).map(person => {
    const name = nameOf(person.user_id, person.user_name), note = spans("there from ", list(person.present));
    const ms = spoken.get(person.user_id), on = filmed.get(person.user_id);
    if (ms) note.append(`${note.childNodes.length ? "; " : ""}spoke for ${length(ms)}`);
    const earlier = list(person.earlier_names).map(plain);
    const element = el("div", { class: "person" }, who(person.user_id, name), note, on ? spans("camera on from ", on) : null,
      earlier.length ? el("div", { class: "note", dir: "auto" }, `before: ${earlier.join(", ")}`) : null);
    return { element, text: [name, ...earlier].join("\n"), draw: () => {} };
  });
  return rows.length ? { id: "people", title: "People", rows, notes: [], empty: "" } : null;
}

function chapters() {
  const rows = happened.map(one => {
    const text = el("p", { dir: "auto" });
    return { element: row(one.at_ms, null, text), at_ms: one.at_ms, text: one.text, draw: wanted => text.replaceChildren(...marked(one.text.slice(0, 400), wanted)) };
  });
  return rows.length ? { id: "chapters", title: "Events", rows, notes: [], empty: "" } : null;
}

let shown = null;
function show(panel, focus) {
  shown = panel;
  for (const one of panels) {
    const is = one === panel;
    $(one.id).hidden = !is;
    one.tab.setAttribute("aria-selected", String(is));
    one.tab.tabIndex = is ? 0 : -1;
    if (is && focus) one.tab.focus();
  }
  search();
  tick();
}

function search() {
  const wanted = $("search").value.trim().toLowerCase();
  for (const panel of panels) {
    let hits = 0;
    for (const row of panel.rows) {
      const hit = !wanted || row.text.toLowerCase().includes(wanted);
      row.element.hidden = !hit;
      hits += hit;
      if (hit && row.drawn !== wanted) { row.draw(wanted); row.drawn = wanted; }
    }
    panel.count.textContent = wanted ? `${hits}/${panel.rows.length}` : panel.rows.length;
    panel.none.hidden = hits > 0;
    panel.none.textContent = panel.rows.length ? "Nothing found." : panel.empty;
    if (panel === shown) $("hits").textContent = wanted ? `${hits} found` : "";
  }
}

/** Marks what is being said, and scrolls there unless the reader has scrolled away. */
function followed(ms) {
  if (!shown || shown.id === "people") return;
  const rows = shown.rows;
  // The last row that has begun; rows are in order.
  let low = 0, high = rows.length;
  while (low < high) { const mid = (low + high) >> 1; if (rows[mid].at_ms <= ms + 60) low = mid + 1; else high = mid; }
  const now = rows[low - 1];
  if (now === shown.now) return;
  if (shown.now) shown.now.element.classList.remove("active");
  shown.now = now;
  if (!now) return;
  now.element.classList.add("active");
  const box = $(shown.id);
  if (following && !now.element.hidden) {
    place(box, now.element, 3);
  }
}
/** Rows that were never shown have a height that is a guess, so that it takes some frames to be where it should. */
function place(box, element, frames) {
  box.scrollTop = element.offsetTop - box.clientHeight / 3;
  if (frames) requestAnimationFrame(() => { if (following && element.classList.contains("active")) place(box, element, frames - 1); });
}
let following = true;
function setFollowing(on) {
  following = on;
  $("follow").setAttribute("aria-pressed", String(on));
  if (on && shown) { if (shown.now) shown.now.element.classList.remove("active"); shown.now = undefined; tick(); }
}

function captions() {
  const rows = panels[0] && panels[0].id === "transcript" ? panels[0].rows : [];
  if (!rows.length) return;
  let on = false, last = "";
  $("captions").hidden = false;
  $("captions").addEventListener("click", () => { on = !on; $("captions").setAttribute("aria-pressed", String(on)); last = ""; tick(); });
  onTime.push(ms => {
    const text = on ? rows.filter(row => row.at_ms <= ms && row.end_ms > ms).slice(-2).map(row => `${row.name.slice(0, 60)}: ${plain(row.cue.text).slice(0, 400)}`).join("\n") : "";
    if (text === last) return;
    last = text;
    $("caption").hidden = !text;
    $("caption").replaceChildren(...text.split("\n").flatMap((line, index) => [index ? el("br") : null, el("span", { dir: "auto" }, line)]).filter(Boolean));
  });
}

function texts() {
  panels.push(...[transcript(), chat(), people(), chapters()].filter(Boolean));
  for (const panel of panels) {
    const box = $(panel.id);
    panel.count = el("small");
    panel.tab = el("button", { type: "button", role: "tab", id: `tab-${panel.id}`, "aria-controls": panel.id, onclick: () => show(panel) }, panel.title, panel.count);
    panel.none = el("p", { class: "empty", hidden: "" });
    box.setAttribute("aria-labelledby", `tab-${panel.id}`);
    $("tabs").append(panel.tab);
    box.append(...panel.notes.map(note => el("p", { class: "note" }, note)), ...panel.rows.map(row => row.element), panel.none);
    for (const name of ["wheel", "touchmove", "keydown"]) box.addEventListener(name, event => {
      if (name !== "keydown" || ["ArrowUp", "ArrowDown", "PageUp", "PageDown"].includes(event.key)) setFollowing(false);
    }, { passive: true });
  }
  $("panel").hidden = !panels.length;
  document.querySelector("main").classList.toggle("bare", !panels.length);
  if (!panels.length) return;
  $("tabs").addEventListener("keydown", event => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    show(panels[(panels.indexOf(shown) + step + panels.length) % panels.length], true);
  });
  $("search").addEventListener("input", search);
  $("search").addEventListener("keydown", event => {
    const hit = event.key === "Enter" && shown.rows.find(row => !row.element.hidden && row.at_ms !== undefined);
    if (hit) seek(Math.max(hit.at_ms, 0) / 1000);
  });
  $("follow").addEventListener("click", () => setFollowing(!following));
  onTime.push(followed);
  captions();
  show(panels[0]);
}
