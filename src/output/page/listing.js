// The list of recordings, newest first. Only so many are in the document at a time.
const AT_ONCE = 300;
const all = list(data.recordings).map(one => {
  const at = new Date(one.started_at);
  const number = one.meeting_id || "";
  const what = one.title || "Recording";
  const date = isNaN(at) ? "" : at.toLocaleDateString(undefined, { weekday: "long", year: "numeric", month: "long", day: "numeric" });
  return { ...one, at, date, what, text: [what, number, date, one.folder, ...list(one.people)].join("\n").toLowerCase() };
});
let shown = AT_ONCE;

function item(one, wanted) {
  const time = isNaN(one.at) ? "" : one.at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
  const more = one.more_people ? ` and ${one.more_people} more` : "";
  const people = one.deleted ? "Deleted" : one.unreadable ? "The manifest cannot be read" : list(one.people).map(name => `\u2068${plain(name)}\u2069`).join(", ") + more;
  const tags = el("span", { class: "tags" }, ...list(one.has).map(what => el("span", {}, what)));
  if (one.incomplete) tags.append(el("span", { class: "chip warn" }, "incomplete"));
  const parts = [el("span", { class: "time" }, time), el("span", { class: "time length" }, one.deleted || one.unreadable ? "" : clock(one.duration_ms)),
    el("span", { class: "what", dir: "auto" }, ...marked(one.what, wanted)),
    el("span", { class: "whom", dir: "auto", title: people.slice(0, 2000) }, ...marked(people, wanted)), tags];
  return one.href ? el("a", { class: "item", href: one.href }, ...parts) : el("div", { class: "item gone" }, ...parts);
}

function draw() {
  const wanted = $("search").value.trim().toLowerCase();
  const words = wanted.split(/\s+/).filter(Boolean);
  const found = all.filter(one => words.every(word => one.text.includes(word)));
  const box = $("list");
  box.replaceChildren();
  let date, group;
  for (const one of found.slice(0, shown)) {
    if (one.date !== date) {
      date = one.date;
      group = el("div", { class: "day" });
      box.append(el("h2", {}, date || "Without a date"), group);
    }
    group.append(item(one, wanted));
  }
  $("none").hidden = found.length > 0;
  $("none").textContent = all.length ? "Nothing found." : "There are no recordings yet.";
  $("hits").textContent = wanted ? `${found.length} found` : "";
  $("more").hidden = found.length <= shown;
}

$("facts").append(el("span", {}, data.more ? `The newest ${all.length}. Older ones are in the bucket, and not listed here.`
  : all.length === 1 ? "1 recording" : `${all.length} recordings`));
$("search").addEventListener("input", () => { shown = AT_ONCE; draw(); });
$("more").addEventListener("click", () => { shown += AT_ONCE; draw(); });
document.addEventListener("keydown", event => {
  if (event.key === "/" && event.target !== $("search") && !event.ctrlKey && !event.metaKey) { event.preventDefault(); $("search").focus(); }
  if (event.key === "Escape" && event.target === $("search")) { $("search").value = ""; draw(); }
});
draw();
