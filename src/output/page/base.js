"use strict";
// What people wrote, their names included, gets into the page as text nodes and attributes of no meaning, never as markup.
const $ = id => document.getElementById(id);
const data = JSON.parse($("data").textContent);
const list = value => Array.isArray(value) ? value : [];

/** An element with properties and children; strings become text. */
function el(tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [key, value] of Object.entries(properties || {})) {
    if (value === undefined || value === null) continue;
    if (key === "class") element.className = value;
    else if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}

/** A name without what turns the direction of writing around: in a name it would turn what stands beside it. */
const plain = name => String(name).replace(/[\u202a-\u202e\u2066-\u2069]/g, "");

/** 0:05, 12:34 or 1:02:03; what is before zero has a minus. */
function clock(ms) {
  const s = Math.floor(Math.abs(ms) / 1000), two = n => String(n).padStart(2, "0");
  const text = s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}` : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  return ms < 0 && s > 0 ? "−" + text : text;
}

/** A length in words: 40 ms, 3.2 s, 12 min, 1 h 5 min. */
function length(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60000) return `${Math.round(ms / 100) / 10} s`;
  const min = Math.round(ms / 60000);
  return min < 60 ? `${min} min` : `${Math.floor(min / 60)} h${min % 60 ? ` ${min % 60} min` : ""}`;
}

function bytes(size) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (size >= 999.5 && unit < 4) { size /= 1000; unit += 1; }
  return `${unit && size < 10 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

/** The day and time of an instant where the reader is. */
function day(text) {
  const at = new Date(text);
  return isNaN(at) ? "" : at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** Text with what was searched for marked. */
function marked(text, wanted) {
  if (!wanted) return [text];
  const parts = [], low = text.toLowerCase();
  // Lower case may have another length (İ): then nothing is marked.
  if (low.length !== text.length) return [text];
  let from = 0;
  for (let at = low.indexOf(wanted); at >= 0; at = low.indexOf(wanted, from)) {
    parts.push(text.slice(from, at), el("mark", {}, text.slice(at, at + wanted.length)));
    from = at + wanted.length;
  }
  parts.push(text.slice(from));
  return parts;
}
