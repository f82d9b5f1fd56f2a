"use strict";
/* The page: what the API says (migrator/api/openapi.json), and the buttons that ask it for changes. Every text of a user, a mailbox or
 * a server gets into the page as text alone (textContent); no markup is ever made of it, and the page's policy forbids it. */

const $ = (id) => document.getElementById(id);

/* What the overview shows, by the names of the events of /api/v1/live. */
const seen = { status: null, groups: null, events: null, copying: [], preparing: [], freezing: [], flipping: [] };
let token = sessionStorage.getItem("token") || "";
let me = null;
let listening = null; /* AbortController of the stream */
let range = 86400e3;

/* ---- making elements ---- */

/* make("p", {class: "quiet", onclick: f}, "text", element, ...) */
function make(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else e.setAttribute(key, value === true ? "" : value);
  }
  e.append(...children.flat(Infinity).filter((c) => c !== null && c !== undefined && c !== false));
  return e;
}

/* What would move or hide the text around it is shown by its number. */
function visible(text) {
  return String(text ?? "").replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu,
    (c) => `\u27e8U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}\u27e9`);
}

const nameOf = (text) => make("bdi", { class: "name" }, visible(text));
const button = (text, onclick, kind) => make("button", { type: "button", class: kind, onclick }, text);

/* ---- numbers and times ---- */

const whole = new Intl.NumberFormat("en");
const number = (n) => whole.format(Math.round(n));
const count = (n, word) => `${number(n)} ${word}${n === 1 ? "" : "s"}`;

function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let i = 0;
  while (n >= 1024 && i < units.length - 1) { n /= 1024; i++; }
  return `${i && n < 100 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

function duration(ms) {
  const s = ms / 1000;
  if (s < 90) return `${Math.max(0, Math.round(s))} s`;
  if (s < 90 * 60) return `${Math.round(s / 60)} min`;
  if (s < 36 * 3600) return `${(s / 3600).toFixed(s < 36000 ? 1 : 0)} hours`;
  return `${number(s / 86400)} days`;
}

const moment = (text) => (text ? new Date(text) : null);
function ago(text) {
  const t = moment(text);
  if (!t) return "";
  const ms = Date.now() - t;
  return ms >= 0 ? `${duration(ms)} ago` : `in ${duration(-ms)}`;
}
function when(text) {
  const t = moment(text);
  return t ? make("time", { datetime: text, title: t.toLocaleString() }, ago(text)) : "";
}

/* ---- asking ---- */

class Refusal extends Error {
  constructor(status, data) {
    super(data.error || `the server answered ${status}`);
    this.status = status;
    this.data = data;
  }
}

async function ask(path, body) {
  const options = { headers: { Authorization: `Bearer ${token}` }, cache: "no-store", credentials: "omit", redirect: "error" };
  if (body) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let answer, data;
  try {
    answer = await fetch(path, options);
    data = await answer.json();
  } catch (e) {
    if (answer) throw new Refusal(answer.status, {});
    throw new Refusal(0, { error: "the migrator does not answer" });
  }
  if (answer.ok) return data;
  if (answer.status === 401) leave(data.error);
  throw new Refusal(answer.status, data);
}

/* Has the browser keep a file: by fetch, since a link can't send the token in a header. */
async function save(path, name) {
  const answer = await fetch(path, { headers: { Authorization: `Bearer ${token}` }, cache: "no-store", credentials: "omit", redirect: "error" }).catch(() => null);
  if (!answer) throw new Refusal(0, { error: "the migrator does not answer" });
  if (answer.status === 401) leave("the token is no longer known");
  if (!answer.ok) throw new Refusal(answer.status, await answer.json().catch(() => ({})));
  const link = make("a", { href: URL.createObjectURL(await answer.blob()), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

const query = (parts) => new URLSearchParams(Object.entries(parts).filter(([, v]) => v)).toString();
const userPath = (what, user) => `api/v1/account${what}?${query({ user })}`;

/* ---- events as they come: by fetch, since EventSource can't send the token in a header ---- */

function takeEvent(text) {
  let name = "", data = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    if (line.startsWith("data:")) data += line.slice(5).trim();
  }
  if (!name || !data) return;
  takePart(name, JSON.parse(data));
}

function takePart(name, value) {
  if (value.error) {
    notice("store", value.error, "bad");
    return;
  }
  notice("store", null);
  if (name === "status" || name === "groups") seen[name] = value;
  else if (name === "events") seen.events = value.events;
  else if (name in seen) seen[name] = value.accounts || [];
  drawSoon();
}

/* What the stream would tell, once: where there are too many who watch. */
async function look() {
  const parts = { status: "status", groups: "groups", events: "events?count=40" };
  for (const state of ["copying", "preparing", "freezing", "flipping"]) parts[state] = `accounts?${query({ state, count: 40 })}`;
  for (const [name, path] of Object.entries(parts)) takePart(name, await ask(`api/v1/${path}`).catch((e) => e.data));
}

async function listen() {
  const mine = (listening = new AbortController());
  let wait = 1000;
  while (!mine.signal.aborted) {
    try {
      const answer = await fetch("api/v1/live", { headers: { Authorization: `Bearer ${token}` }, signal: mine.signal, cache: "no-store", credentials: "omit" });
      if (answer.status === 401) return leave("the token is no longer known");
      if (answer.status === 503) {
        setLive("off", "too many watch: looked at now and then");
        await look();
        await new Promise((done) => setTimeout(done, 10000));
        continue;
      }
      if (answer.ok) {
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let text = "";
        setLive("on", "live");
        wait = 1000;
        for (;;) {
          const { value, done } = await reader.read();
          if (done) break;
          text += value.replaceAll("\r", "");
          for (let at = text.indexOf("\n\n"); at >= 0; at = text.indexOf("\n\n")) {
            takeEvent(text.slice(0, at));
            text = text.slice(at + 2);
          }
        }
      }
    } catch (e) {
      if (mine.signal.aborted) return;
    }
    setLive("off", "connecting again");
    await new Promise((done) => setTimeout(done, wait));
    wait = Math.min(wait * 2, 30000);
  }
}

function setLive(kind, text) {
  $("live").className = `live ${kind}`;
  if ($("live").textContent !== text) $("live").textContent = text;
}

/* ---- in and out ---- */

/* Who comes next at this screen finds nothing of what the one before was shown. */
function forget() {
  for (const id of ["list", "account", "problems", "problems-sum", "numbers", "bar", "graphs", "brake", "waves", "jobs", "jobs-sum", "servers", "look", "look-ask", "report-ask", "lists-ask", "survey", "events", "said", "name", "ask-title", "ask-what", "ask-more", "ask-count"]) {
    $(id).replaceChildren();
    delete $(id).dataset.key;
  }
  $("search-name").value = $("ask-reason").value = "";
  drawing++; /* what is on its way is not drawn any more */
  looking++;
  surveying++;
  shownUser = listFile = "";
  Object.assign(seen, { status: null, groups: null, events: null, copying: [], preparing: [], freezing: [], flipping: [] });
  points = [];
  notices.clear();
  $("notices").replaceChildren();
  document.title = "imapferry";
}

function leave(why) {
  if (listening) listening.abort();
  token = "";
  me = null;
  sessionStorage.removeItem("token");
  if ($("ask").open) $("ask").close();
  for (const id of ["overview", "list", "account", "search", "who"]) $(id).hidden = true;
  forget();
  $("enter").hidden = false;
  $("enter-error").textContent = why || "";
  $("token").value = "";
  $("token").focus();
}

async function enter() {
  me = await ask("api/v1/me");
  sessionStorage.setItem("token", token);
  $("enter").hidden = true;
  $("enter-error").textContent = "";
  $("search").hidden = $("who").hidden = false;
  $("name").textContent = me.role === "operator" ? me.name : `${me.name} (looks only)`;
  listen();
  drawHistory();
  drawLookAsk();
  drawLookSoon();
  drawListsAsk();
  drawSurveySoon();
  route();
}

$("enter-form").addEventListener("submit", async (e) => {
  e.preventDefault();
  token = $("token").value.trim();
  try {
    await enter();
    $("main").focus();
  } catch (error) {
    $("enter-error").textContent = error.message;
  }
});
$("leave").addEventListener("click", () => leave(""));

/* ---- what is said at the top ---- */

const notices = new Map();
function notice(key, text, kind, extra) {
  const before = notices.get(key);
  if (before && before.dataset.text === text) return;
  if (before) before.remove();
  notices.delete(key);
  if (!text) return;
  const p = make("p", { class: `notice ${kind || ""}` }, make("span", {}, visible(text)), extra);
  p.dataset.text = text;
  notices.set(key, p);
  $("notices").append(p);
}

let saying;
function say(text) {
  $("said").textContent = text;
  clearTimeout(saying);
  saying = setTimeout(() => { $("said").textContent = ""; }, 9000);
}

/* ---- a change: says what it will do, asks for a reason, and tells what came of it ---- */

let asked = null;
/* more: elements of further fields; collect: what they add to the body. confirm: makes {count, yes} of a refusal that says how much it
 * would be; then it is asked again, with yes. partly: is a refusal one that did some of it? reasoned: it stands in the audit. */
function askFor({ title, what, yes, path, body, danger, more = [], collect = () => ({}), confirm = null, partly = () => false, reasoned = true, after }) {
  asked = { path, body, collect, confirm, partly, after, yes, danger, reasoned, sure: false, from: document.activeElement };
  $("ask-title").textContent = title;
  $("ask-what").textContent = what;
  $("ask-more").replaceChildren(...more);
  $("ask-yes").textContent = yes;
  $("ask-yes").className = danger ? "danger" : "strong";
  $("ask-error").textContent = $("ask-count").textContent = "";
  $("ask-reason").value = "";
  $("ask-yes").disabled = false;
  $("ask-reason").required = reasoned;
  for (const part of ["ask-reason-label", "ask-reason", "ask-help"]) $(part).hidden = !reasoned;
  $("ask").showModal();
  $(reasoned ? "ask-reason" : "ask-no").focus();
}

$("ask-no").addEventListener("click", () => $("ask").close());
$("ask").addEventListener("close", () => { if (asked && asked.from && asked.from.isConnected) asked.from.focus(); });
/* What was counted is not what stands there any more. */
$("ask-more").addEventListener("input", () => {
  if (!asked || !asked.sure) return;
  asked.sure = false;
  $("ask-count").textContent = "";
  $("ask-yes").textContent = asked.yes;
  $("ask-yes").className = asked.danger ? "danger" : "strong";
});

function askAgain(data) {
  const { count, yes } = asked.confirm(data);
  asked.sure = true;
  $("ask-count").textContent = count;
  $("ask-yes").textContent = yes;
  $("ask-yes").className = "danger";
  $("ask-yes").disabled = false;
  $("ask-yes").focus();
}

$("ask-form").addEventListener("submit", async (e) => {
  e.preventDefault();
  const mine = asked;
  const { path, body, collect, confirm, partly, sure, reasoned, after } = mine;
  $("ask-yes").disabled = true;
  $("ask-error").textContent = "";
  if (confirm) $("ask-count").textContent = sure ? `${$("ask-count").textContent} It is being done.` : "Accounts are looked at; where there are many this takes a while.";
  try {
    const answer = await ask(path, { ...body, ...collect(), ...(sure ? { yes: true } : {}), ...(reasoned ? { reason: $("ask-reason").value.trim() } : {}) }).catch((error) => {
      if (partly(error)) return { ...error.data, message: error.message };
      throw error;
    });
    if (mine !== asked || !$("ask").open) return say(visible(answer.message || "done"));
    $("ask").close();
    say(visible(answer.message || "done"));
    (after || route)(answer);
  } catch (error) {
    if (mine !== asked || !$("ask").open) return say(visible(error.message));
    if (confirm && !sure && error.status === 409 && error.data.findings) return askAgain(error.data);
    $("ask-count").textContent = "";
    mine.sure = false;
    $("ask-yes").textContent = mine.yes;
    $("ask-error").textContent = visible(error.status ? error.message : `${error.message}: what was asked for may go on; look at the audit before you say it again`);
    $("ask-yes").disabled = false;
  }
});

const mayChange = () => me && me.role === "operator";

/* ---- the overview: what needs somebody ---- */

const TROUBLE = { blocked: "Blocked: needs a decision", backoff: "Tried again by itself", held: "Held by staff", ready: "Copied, and waits" };
const ORDER = ["blocked", "backoff", "ready", "held"];

function retryGroup(g) {
  askFor({
    title: `Try ${count(g.accounts, "account")} again`,
    what: `All accounts that are ${g.state}${g.reason ? ` with the reason "${g.reason}"` : ""} are queued now, behind users who log in. Whatever is not put right will stop them again, and nothing is switched over that was not compared.`,
    yes: "Try all again", path: "api/v1/retry", body: { state: g.state, word: g.reason || "" },
  });
}

/* ---- what of many accounts may be waived, by kind ---- */

const choice = (id, label, options, value = "") => make("div", { class: "field" }, make("label", { for: id }, label),
  make("select", { id }, options.map(([v, text]) => make("option", { value: v, selected: v === value }, visible(text)))));
const field = (id, label, attributes = {}) => make("div", { class: "field" }, make("label", { for: id }, label),
  make("input", { id, type: "text", autocomplete: "off", autocapitalize: "none", spellcheck: "false", maxlength: 255, ...attributes }));
const rulesOf = () => [["", "any"], ...me.rules.map((r) => [r, r]), ["-", "none that fits"]];
const serversOf = () => [["", "any"], ...me.backends.map((b) => [b, b])];
const given = (names, prefix) => Object.fromEntries(names.map((n) => [n, $(`${prefix}-${n}`).value.trim()]).filter(([, v]) => v));

function waiveMany(g) {
  askFor({
    title: "Waive findings of many accounts", yes: "Count them", path: "api/v1/waive", body: { state: g.state, word: g.reason || "" },
    what: `Of all accounts that are ${g.state}${g.reason ? ` with the reason "${g.reason}"` : ""}: what the last pass found of this kind stops the switch-over no more, and blocked ones are queued again. What could not be copied is left behind on the old server for good; reports and the audit go on naming it. First it is counted, and nothing is changed.`,
    more: [choice("many-keys", "Kind", me.kinds.map((k) => [k.kind, `${k.kind.replaceAll("_", " ")}: ${k.text}`])), field("many-domain", "Domain (none: any)"),
      choice("many-rule", "Rule", rulesOf()), choice("many-backend", "Server", serversOf())],
    collect: () => ({ keys: [$("many-keys").value], ...given(["domain", "rule", "backend"], "many") }),
    confirm: (d) => ({ count: `${count(d.findings, "finding")} of ${count(d.accounts, "account")} would be waived.`, yes: `Waive ${count(d.findings, "finding")} of ${count(d.accounts, "account")}` }),
  });
}

function problemCard(g) {
  const label = `${g.state}${g.reason ? `, ${g.reason}` : ""}`;
  const canRetry = mayChange() && (g.state === "blocked" || g.state === "backoff");
  return make("article", { class: `card ${g.state}`, "aria-label": `${label}: ${count(g.accounts, "account")}` },
    make("h3", {}, make("span", { class: "count" }, number(g.accounts)), make("span", {}, g.reason ? g.reason.replaceAll("_", " ") : g.state)),
    make("span", { class: "quiet" }, TROUBLE[g.state] || g.state),
    make("p", {}, visible(g.advice || "")),
    make("div", { class: "buttons" },
      button("Show them", () => { location.hash = `list?${query({ state: g.state, reason: g.reason })}`; }),
      canRetry && button("Try all again", () => retryGroup(g)),
      canRetry && g.state === "blocked" && button("Waive by kind", () => waiveMany(g))));
}

function drawProblems() {
  if (!seen.groups) return;
  const groups = seen.groups.groups.filter((g) => ORDER.includes(g.state) && !(g.state === "ready" && !g.reason && seen.status?.accounts?.ready === undefined));
  groups.sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || b.accounts - a.accounts);
  const blocked = groups.filter((g) => g.state === "blocked").reduce((n, g) => n + g.accounts, 0);
  const failing = groups.filter((g) => g.state === "backoff").reduce((n, g) => n + g.accounts, 0);
  $("problems-sum").textContent = blocked || failing ? `${number(blocked)} blocked, ${number(failing)} tried again` : "";
  const cards = groups.map(problemCard);
  if (!blocked && !failing) cards.unshift(make("p", { class: "calm" }, "Nothing is blocked, and nothing has failed."));
  replaceIfOther($("problems"), groups.length ? JSON.stringify([groups, mayChange()]) : "none", cards);
}

/* What is as it was is left alone, so that nobody's focus or reading place goes. */
function replaceIfOther(element, key, children) {
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  const at = document.activeElement && element.contains(document.activeElement) ? [...element.querySelectorAll("button, a")].indexOf(document.activeElement) : -1;
  element.replaceChildren(...children);
  if (at >= 0) [...element.querySelectorAll("button, a")][at]?.focus();
}

/* ---- how far it is ---- */

const STATES = [
  ["settled", "moved", "--moved"], ["flipped", "moved of late", "--moved"], ["ready", "copied", "--ready"],
  ["flipping", "switching over", "--work"], ["freezing", "standing still", "--work"], ["preparing", "about to move", "--work"], ["copying", "being copied", "--work"],
  ["queued", "queued", "--queued"], ["backoff", "tried again later", "--backoff"], ["blocked", "blocked", "--blocked"], ["held", "held", "--held"], ["resting", "resting", "--rest"],
];
/* Colors of one meaning are one part of the picture. */
const PARTS = [
  ["moved", "--moved", ["settled", "flipped"]], ["copied", "--ready", ["ready"]], ["at work", "--work", ["copying", "preparing", "freezing", "flipping"]],
  ["queued", "--queued", ["queued"]], ["tried again later", "--backoff", ["backoff"]], ["blocked", "--blocked", ["blocked"]], ["held", "--held", ["held"]], ["resting", "--rest", ["resting"]],
];
const sumOf = (accounts, states) => states.reduce((n, s) => n + (accounts?.[s] || 0), 0);
const partsOf = (accounts) => PARTS.map(([label, color, states]) => ({ label, color: `var(${color})`, value: sumOf(accounts, states) }));

let points = []; /* of the last day or so, for rates */

/* By what happened in the last hours: the longest that was noted, up to six. */
function rates() {
  const last = points[points.length - 1];
  const first = points.find((p) => last && moment(last.time) - moment(p.time) <= 6 * 3600e3);
  if (!last || !first || first === last) return null;
  const s = (moment(last.time) - moment(first.time)) / 1000;
  const per = (name) => Math.max(0, ((last.sums[name] || 0) - (first.sums[name] || 0)) / s);
  return { moved: Math.max(0, (sumOf(last.accounts, ["settled", "flipped"]) - sumOf(first.accounts, ["settled", "flipped"])) / s), bytes: per("bytes_done"), messages: per("messages_done") };
}

function figure(term, value, sub) {
  return make("div", {}, make("dt", {}, term), make("dd", {}, value, sub ? make("div", { class: "sub" }, sub) : null));
}

function drawNumbers() {
  const s = seen.status;
  if (!s) return;
  const moved = sumOf(s.accounts, ["settled", "flipped"]);
  const all = Object.values(s.accounts).reduce((n, x) => n + x, 0);
  const coming = sumOf(s.accounts, ["queued", "copying", "ready", "preparing", "freezing", "flipping", "backoff"]);
  const r = rates();
  const left = coming === 0 ? "nothing to do" : r && r.moved > 0 ? duration((coming / r.moved) * 1000) : "not known yet";
  const share = all ? `${((100 * moved) / all).toFixed(moved === all ? 0 : 1)} %` : "";
  replaceIfOther($("numbers"), JSON.stringify([moved, all, s.messages, s.bytes, left, r]), [
    figure("Accounts moved", number(moved), `of ${number(all)}${share && ` · ${share}`}`),
    figure("Messages copied", number(s.messages.done), `of ${number(s.messages.total)}`),
    figure("Mail copied", bytes(s.bytes.done), `of ${bytes(s.bytes.total)}`),
    figure("Rate", r ? `${bytes(r.bytes)}/s` : "–", r ? `${number(r.messages)} messages/s · ${number(r.moved * 3600)} accounts/h` : "told after some minutes"),
    figure("Time left", left, coming ? `for ${count(coming, "account")} queued or at work` : "of what is queued"),
  ]);
  const parts = partsOf(s.accounts);
  const words = parts.filter((p) => p.value).map((p) => `${number(p.value)} ${p.label}`).join(", ") || "no accounts";
  replaceIfOther($("bar"), words, [
    stackPicture(parts, `Accounts: ${words}`),
    make("ul", { class: "legend" }, parts.filter((p) => p.value).map((p) => make("li", {}, swatch(p.color), `${p.label} `, make("b", {}, number(p.value))))),
  ]);
}

function swatch(color) {
  const e = make("span", { class: "swatch", "aria-hidden": "true" });
  e.style.background = color;
  return e;
}

function drawBrake() {
  const s = seen.status;
  if (!s) return;
  notice("paused", s.paused ? `Migrations are paused${s.paused_by ? ` by ${s.paused_by}` : ""}${s.paused_reason ? `: ${s.paused_reason}` : ""}` : null, "");
  replaceIfOther($("brake"), `${s.paused} ${mayChange()}`, mayChange() ? [s.paused
    ? button("Resume migrations", () => askFor({ title: "Resume migrations", what: "Queued accounts are copied and switched over again, from where they are.", yes: "Resume", path: "api/v1/resume", body: {} }), "strong")
    : button("Pause migrations", () => askFor({ title: "Pause all migrations", what: "No account is begun or switched over until somebody resumes. What is being switched over at this moment is carried out. Users go on working.", yes: "Pause all", path: "api/v1/pause", body: {}, danger: true }), "danger")] : []);
}

const RANGES = [["6 hours", 6 * 3600e3], ["Day", 86400e3], ["Week", 7 * 86400e3], ["All", 0]];
function drawRange() {
  $("range").append(...RANGES.map(([label, ms]) => make("label", {},
    make("input", { type: "radio", name: "range", checked: ms === range, onchange: () => { range = ms; drawHistory(); } }), label)));
}

let drawing = 0;
async function drawHistory() {
  if (!me) return;
  const mine = ++drawing;
  try {
    const now = Date.now();
    const answer = await ask(`api/v1/history?${query({ since: range ? Math.round(now - range) : "", count: 200 })}`);
    points = range === 0 || range > 86400e3 ? (await ask(`api/v1/history?${query({ since: Math.round(now - 6 * 3600e3), count: 400 })}`)).points : answer.points;
    if (mine === drawing) drawGraphs(answer.points);
  } catch (e) {
    if (e.status !== 401) notice("store", e.message, "bad");
  }
  drawSoon();
}
setInterval(() => { if (me && !document.hidden) drawHistory(); }, 60000);

function graph(title, detail, picture) {
  return make("figure", { class: "panel" }, make("figcaption", {}, make("b", {}, title), detail ? ` · ${detail}` : ""), picture);
}

function drawGraphs(list) {
  if (list.length < 2) {
    $("graphs").replaceChildren(make("p", { class: "quiet panel" }, "Each minute is noted from now on; there is a picture after the second one."));
    return;
  }
  const times = list.map((p) => Number(moment(p.time)));
  const parts = PARTS.map(([label, color, states]) => ({ label, color: `var(${color})`, values: list.map((p) => sumOf(p.accounts, states)) }));
  const rate = (name) => list.map((p, i) => i === 0 ? null
    : Math.max(0, ((p.sums[name] || 0) - (list[i - 1].sums[name] || 0)) / Math.max(1, (times[i] - times[i - 1]) / 1000)));
  const first = list[0], last = list[list.length - 1];
  const movedThen = sumOf(first.accounts, ["settled", "flipped"]), movedNow = sumOf(last.accounts, ["settled", "flipped"]);
  const gone = (last.sums.bytes_done || 0) - (first.sums.bytes_done || 0);
  $("graphs").replaceChildren(
    graph("Accounts by state", `${number(Math.max(0, movedNow - movedThen))} moved in this time`, timePicture({ times, layers: parts, stacked: true, show: (n) => number(n),
      words: `Accounts by state over time: ${number(movedThen)} had moved at first, ${number(movedNow)} at last` })),
    graph("Mail copied a second", `${bytes(Math.max(0, gone))} in this time`, timePicture({ times, layers: [{ color: "var(--work)", values: rate("bytes_done") }], show: (n) => `${bytes(n)}/s`, base: 1024,
      words: `Mail copied a second over time; ${bytes(Math.max(0, gone))} in all` })));
}

/* ---- waves, where the configuration has them ---- */

function waveState(w) {
  if (w.paused) return `paused${w.paused_by ? ` by ${w.paused_by}` : ""}${w.paused_reason ? `: ${w.paused_reason}` : ""}`;
  if (!w.configured) return "in no configuration any more";
  return w.begun ? "runs" : `begins ${ago(w.after)}`;
}

function waveButton(w) {
  const [verb, title, what] = w.paused
    ? ["resume", "Resume", "Its accounts are copied and switched over again when it is their turn."]
    : ["pause", "Pause", "None of its accounts is begun or switched over until somebody resumes it. What is being switched over at this moment is carried out."];
  return button(title, () => askFor({ title: `${title} wave ${visible(w.wave)}`, what, yes: title, path: `api/v1/${verb}`, body: { wave: w.wave }, danger: !w.paused }));
}

function drawWaves() {
  const waves = seen.status?.waves;
  $("waves-part").hidden = !Array.isArray(waves) || waves.length === 0;
  if ($("waves-part").hidden) return;
  const may = mayChange();
  const columns = [["Wave", (w) => visible(w.wave)], ["Moved", (w) => number(w.moved)], ["Under way", (w) => number(w.under_way)],
    ["Failing", (w) => number(w.failing)], ["Today", (w) => `${number(w.today)}${w.per_day ? ` of ${number(w.per_day)}` : ""}`],
    ["Share", (w) => (w.share === null ? "" : `${w.share} %`)], ["State", (w) => visible(waveState(w))]];
  if (may) columns.push(["Change", waveButton]);
  replaceIfOther($("waves"), JSON.stringify([may, waves]), [make("table", { class: "cards-on-phone" },
    make("thead", {}, make("tr", {}, columns.map(([name]) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, waves.map((w) => make("tr", {}, columns.map(([name, cell]) => make("td", { "data-label": name }, make("span", {}, cell(w))))))))]);
}

/* ---- at work, servers, events ---- */

function accountLink(a) {
  return make("a", { href: `#account?${query({ user: a.user })}` }, nameOf(a.user));
}

function progressOf(a) {
  const all = a.bytes.total || a.messages.total, done = a.bytes.total ? a.bytes.done : a.messages.done;
  const text = `${number(a.messages.done)} of ${number(a.messages.total)}, ${bytes(a.bytes.done)}`;
  return make("div", {}, make("progress", { max: Math.max(1, all), value: Math.min(done, all), "aria-label": `${visible(a.user)}: ${text}` }), make("div", { class: "quiet" }, text));
}

function table(caption, columns, rows) {
  return make("table", { class: "cards-on-phone" }, make("caption", { class: caption ? null : "hidden" }, caption || columns.join(", ")),
    make("thead", {}, make("tr", {}, columns.map((c) => make("th", { scope: "col" }, c)))),
    make("tbody", {}, rows.map((cells) => make("tr", {}, cells.map((c, i) => make("td", { "data-label": columns[i] }, c instanceof Node ? c : make("span", {}, c)))))));
}

function drawJobs() {
  const jobs = [...seen.flipping, ...seen.freezing, ...seen.preparing, ...seen.copying];
  const all = sumOf(seen.status?.accounts, ["copying", "preparing", "freezing", "flipping"]);
  $("jobs-sum").textContent = all > jobs.length ? `the first ${jobs.length} of ${number(all)}` : "";
  replaceIfOther($("jobs"), JSON.stringify(jobs.map((j) => [j.user, j.state, j.messages, j.bytes, j.reason])), jobs.length
    ? [table("", ["Account", "State", "Messages", "Waits for"], jobs.map((j) => [accountLink(j), chip(j.state), progressOf(j), visible(j.reason || "")]))]
    : [make("p", { class: "quiet" }, "No account is being copied or switched over at this moment.")]);
}

const chip = (state) => make("span", { class: `chip ${state}` }, visible(state));

function drawServers() {
  const s = seen.status;
  if (!s) return;
  const open = (name) => s.breakers.filter((b) => b.backend === name);
  const names = [...new Set([...(me?.backends || []), ...Object.keys(s.backends)])];
  const health = (name) => (open(name).length ? make("span", { class: "bad" }, `does not answer ${count(open(name).length, "proxy")}`.replace("proxys", "proxies")) : s.proxies.some((p) => !p.silent) ? "answers" : make("span", { class: "quiet" }, "not known: no proxy works"));
  const alive = (x, quiet) => (x.silent ? make("span", { class: "bad" }, "silent, last heard ", when(quiet)) : "works");
  replaceIfOther($("servers"), JSON.stringify([s.backends, s.breakers, s.migrators.map((m) => [m.migrator, m.silent, m.rests, m.jobs]), s.proxies.map((p) => [p.proxy, p.silent]), s.store.durability, names]), [
    table("", ["Server", "Accounts", "Health"], names.map((n) => [nameOf(n), number(s.backends[n] || 0), health(n)])),
    make("br"),
    table("", ["Program", "State", "Jobs"], [
      ...s.migrators.map((m) => [nameOf(m.migrator), m.rests && !m.silent ? make("span", { class: "bad" }, `takes nothing: ${visible(m.rests)}`) : alive(m, m.told), number(m.jobs)]),
      ...s.proxies.map((p) => [nameOf(p.proxy.replace(/-[^-]*$/, "")), alive(p, p.renewed), ""]),
      ["Redis", s.store.durability === "good" ? "keeps what it is told" : visible(s.store.detail || s.store.durability), ""]]),
  ]);
  notice("writes", s.store.refuses_writes ? `Redis takes no writes: ${s.store.refuses_writes}` : null, "bad");
  notice("quarantine", s.store.quarantine_ms > 0 ? `Redis restarted or failed over: nothing is copied anew or switched over for another ${duration(s.store.quarantine_ms)}` : null, "");
  notice("unknown", s.backends_unknown ? `Accounts live on servers that the configuration does not have: ${s.backends_unknown}` : null, "bad");
  notice("migrators", s.migrators.some((m) => !m.silent) ? null : "No migrator is at work: nothing moves", "bad");
}

const KINDS = { paused: "migrations were paused", resumed: "migrations go on", generation: "Redis restarted or failed over", now: "is to move as soon as it can" };
function drawEvents() {
  if (!seen.events) return;
  const list = seen.events.filter((e) => e.kind === "state" || e.kind in KINDS).slice(0, 14);
  replaceIfOther($("events"), list.map((e) => e.id).join(" "), list.length ? list.map((e) => make("li", {},
    make("time", { datetime: e.time, title: moment(e.time).toLocaleString() }, moment(e.time).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" })),
    make("span", { class: "what" }, e.user ? accountLink(e) : "", e.user ? " " : "", KINDS[e.kind] || chip(e.state), e.kind === "state" && (e.state === "flipped" || e.state === "settled") ? ` on ${visible(e.backend)}` : "")))
    : [make("li", { class: "quiet" }, "Nothing has changed of late.")]);
}

/* ---- looks that take long: one at a time in a migrator, begun by operators */

const LEVELS = { error: "blocked", warning: "backoff", ok: "settled" };
const LOOKS = { retire: (l) => `May ${l.backend} be switched off?`, "without-proxy": () => "Who would notice if there were no proxy?", doctor: () => "Is all well?",
  report: () => "Report", plan: (l) => `What would happen to ${l.user}?` };
const ASKS_SERVERS = ["doctor", "plan"];

async function askLook(what, parts) {
  try {
    drawLook(await ask("api/v1/look", { what, ...parts }));
  } catch (e) {
    say(visible(e.message));
  }
  drawLookSoon();
}

const serverChoice = (id) => make("select", { id, "aria-label": "Server" }, me.backends.map((b) => make("option", { value: b, selected: b === me.source }, visible(b))));

function drawLookAsk() {
  const server = serverChoice("look-server");
  $("look-ask").replaceChildren(...(mayChange() ? [button("Doctor", () => askLook("doctor")), button("Without proxy", () => askLook("without-proxy")),
    make("span", { class: "pair" }, server, button("May it retire?", () => askLook("retire", { to: server.value })))] : []));
  $("report-ask").replaceChildren(...(mayChange() ? [field("report-domain", "Domain", { placeholder: "any" }), choice("report-rule", "Rule", rulesOf()), choice("report-backend", "Server", serversOf()),
    choice("report-state", "State", [["", "any"], ...STATES.map(([state]) => [state, state])]), make("button", {}, "Make a report")] : []));
}
$("report-ask").addEventListener("submit", (e) => {
  e.preventDefault();
  askLook("report", given(["domain", "rule", "backend", "state"], "report"));
});

let looking = 0;
function drawLookSoon() {
  const mine = ++looking;
  const again = async () => {
    const l = await ask("api/v1/look").catch(() => null);
    if (mine !== looking || !me) return;
    if (l) drawLook(l);
    if (!l || l.running) setTimeout(() => mine === looking && me && again(), 2000);
  };
  again();
}

const lookState = (l) => (ASKS_SERVERS.includes(l.what) ? "Servers are asked." : `${number(l.looked_at)} accounts looked at so far.`);
const lookEnd = (l) => make("p", { role: "status" }, make("b", {}, visible(LOOKS[l.what](l))), " ", make("span", { class: l.verdict === "good" ? null : "bad" }, l.report ? `of ${count(l.report.accounts, "account")}` : visible(l.result)), make("span", { class: "quiet" }, " · ", visible(l.who), " ", when(l.ended)));

function checksOf(l) {
  const level = (c) => make("span", { class: `chip ${LEVELS[c.level]}` }, c.level);
  const examples = (c) => (c.examples || []).length ? make("div", { class: "quiet" }, c.examples.map((user, i) => [i ? ", " : "", accountLink({ user })])) : null;
  return [table("", ["Level", "Of", "What was found"], l.checks.map((c) => [level(c), visible(c.of), make("div", {}, visible(c.text), examples(c), c.advice ? make("div", { class: "quiet" }, visible(c.advice)) : null)])),
    l.listed ? make("p", { class: "quiet" }, `With a list of ${count(l.listed, "account")}.`) : "",
    l.what === "retire" && mayChange() ? make("p", {}, button(`All that are on ${visible(l.backend)}`, () => askLook("report", { backend: l.backend })), " ", make("span", { class: "quiet" }, "as a report, with a line of CSV for each")) : "",
    l.more ? make("p", { class: "quiet" }, `and ${number(l.more)} more: imapferryctl tells all of them`) : ""];
}

function drawLook(l) {
  const head = !l.what ? "Nobody has looked since this migrator started." : l.running ? `${LOOKS[l.what](l)} ${lookState(l)}` : "";
  replaceIfOther($("look"), JSON.stringify([l, mayChange()]), head ? [make("p", { class: "quiet", role: "status" }, visible(head))] : [lookEnd(l),
    ...(l.report ? reportOf(l.report, l.began) : l.plan ? [make("p", {}, accountLink({ user: l.plan.user }), " has the plan on its page.")] : l.checks.length ? checksOf(l) : [])]);
  drawPlanOf(l);
}

/* ---- a report of many accounts ---- */

const share = (part, all) => (all ? `${((100 * part) / all).toFixed(part === all ? 0 : 1)} %` : "");

function takeAway(format, ending, label, made) {
  const name = `imapferry-report-${(made || "").slice(0, 10)}.${ending}`;
  return button(label, () => save(`api/v1/look/report?${query({ format })}`, name).then(() => say(`${name} is saved`)).catch((e) => say(visible(e.message))));
}

function countsTable(head, counts, cell = visible) {
  const rows = Object.entries(counts);
  return rows.length ? table("", [head, "Accounts"], rows.map(([name, n]) => [cell(name), number(n)])) : "";
}

const NAMES_SHOWN = 30;
function namesTable(head, names) {
  const rows = Object.entries(names).sort((a, b) => b[1].accounts - a[1].accounts);
  if (rows.length < 2) return "";
  return [table("", [head, "Accounts", "Moved", "Share"], rows.slice(0, NAMES_SHOWN).map(([name, n]) => [nameOf(name || "(others)"), number(n.accounts), number(n.moved), share(n.moved, n.accounts)])),
    rows.length > NAMES_SHOWN ? make("p", { class: "quiet" }, `and ${number(rows.length - NAMES_SHOWN)} more: the files have all`) : ""].flat();
}

function reasonsTable(list, columns, rest) {
  return list.length ? table("", columns, list.map((r) => [number(r.accounts), ...rest(r)])) : "";
}
const examplesOf = (r) => make("span", {}, (r.examples || []).map((user, i) => [i ? ", " : "", accountLink({ user })]));

function reportOf(r, made) {
  const scope = Object.entries(r.scope).map(([k, v]) => `${k} ${v}`).join(", ") || "all accounts with a record";
  const files = make("div", { class: "row start" }, make("span", { class: "quiet" }, "Take away:"), takeAway("text", "txt", "Text", made), takeAway("json", "json", "JSON", made),
    r.csv === null ? make("span", { class: "quiet" }, "its CSV would be too large: choose a domain or a rule, or take it by imapferryctl report --format csv") : takeAway("csv", "csv", `CSV, ${bytes(r.csv)}`, made));
  const head = make("h3", {}, nameOf(scope));
  if (!r.accounts) return [head, make("p", {}, "There are no such accounts.")];
  return [make("div", { class: "many" }, head, files,
    make("dl", { class: "numbers" },
      figure("Moved", number(r.moved.accounts), `of ${number(r.accounts)} · ${share(r.moved.accounts, r.accounts)}`),
      figure("Messages copied", number(r.messages.done), `of ${number(r.messages.total)}`),
      figure("Compared", number(r.messages.verified), "read back from the new server"),
      figure("Mail copied", bytes(r.bytes.done), `of ${bytes(r.bytes.total)}`),
      figure("Waived", number(r.waived.findings), `of ${count(r.waived.accounts, "account")}`)),
    make("div", { class: "columns" }, make("div", {}, countsTable("State", r.states, chip)), make("div", {}, countsTable("Mail is on", r.backends, nameOf))),
    reasonsTable(r.reasons, ["Accounts", "State", "Reason", "Such as"], (x) => [chip(x.state), make("span", {}, visible(x.reason.replaceAll("_", " "))), examplesOf(x)]),
    namesTable("Rule", r.rules), namesTable("Domain", r.domains))];
}

/* ---- a plan of one ---- */

function planOf(p) {
  const sum = (name) => p.mailboxes.reduce((n, m) => n + m[name], 0);
  const names = (list) => make("ul", { class: "findings" }, list.map((f) => make("li", {}, f.blocks ? make("b", { class: "bad" }, f.kind.replaceAll("_", " ")) : f.kind.replaceAll("_", " "), f.mailbox ? [" in ", nameOf(f.mailbox)] : null, ": ", visible(f.detail))));
  const stops = p.findings.filter((f) => f.blocks), differs = p.findings.filter((f) => !f.blocks);
  const size = (m) => make("span", { class: "numeric" }, bytes(m.bytes));
  const name = (m) => make("div", {}, nameOf(m.mailbox), m.target !== m.mailbox ? make("div", { class: "quiet" }, "→ ", nameOf(m.target)) : null,
    m.create ? make("div", { class: "quiet" }, "is made there") : null, m.leave_out.length ? make("div", { class: "quiet" }, "but for what leave_out says: ", visible(m.leave_out.join(", "))) : null);
  return [make("p", {}, `From ${visible(p.source)} to ${visible(p.target)}: ${p.mailboxes.length} mailboxes, ${count(sum("messages"), "message")}, ${bytes(sum("bytes"))}.`),
    stops.length ? [make("h3", {}, "What would stop it"), names(stops)] : null, differs.length ? [make("h3", {}, "What stays behind or differs"), names(differs)] : null,
    p.uidls ? make("p", {}, "UIDLs of POP3: ", visible(p.uidls.text)) : null,
    table("", ["Mailbox", "Messages", "Size", "Tier"], p.mailboxes.slice(0, 500).map((m) => [name(m), make("span", { class: "numeric" }, number(m.messages)), size(m), make("span", {}, visible(m.tier), m.tier_why ? make("div", { class: "quiet" }, visible(m.tier_why)) : null)])),
    p.mailboxes.length > 500 ? make("p", { class: "quiet" }, `and ${number(p.mailboxes.length - 500)} more mailboxes`) : null].flat().filter(Boolean);
}

/* On the page of its account. */
let shownUser = "";
function drawPlanOf(l) {
  const box = $("account").querySelector(".plan");
  if (!box || !shownUser) return;
  const mine = l.what === "plan" && l.user === shownUser;
  box.hidden = !mine;
  if (!mine) return;
  replaceIfOther(box, JSON.stringify(l), [make("h2", {}, "Plan"), ...(l.running ? [make("p", { class: "quiet", role: "status" }, `${lookState(l)} Nothing is written.`)] : [lookEnd(l), ...(l.plan ? planOf(l.plan) : [])])]);
}

/* ---- a list of accounts: surveyed, queued, or held against a server that is to retire ---- */

const LIST_MAX = 8 * 1024 * 1024 - 65536;
let listFile = ""; /* what the file has that was chosen */
const listOf = () => listFile || $("list-names").value;
const listCount = () => listOf().split("\n").filter((line) => line.trim() && !line.trim().startsWith("#")).length;

async function takeListFile(e) {
  const file = e.target.files[0];
  listFile = "";
  if (file && file.size > LIST_MAX) {
    e.target.value = "";
    return sayOfList(`${file.name} is larger than 8 MiB: give it in parts, or to imapferryctl`);
  }
  listFile = file ? await file.text() : "";
  $("list-names").disabled = Boolean(file);
  sayOfList(file ? `${file.name}: ${count(listCount(), "account")}` : "");
}
function sayOfList(text) {
  $("list-said").textContent = visible(text);
}
/* false: it was said what is wrong. */
function haveList() {
  const n = listCount();
  if (!n) sayOfList("give the list first: a login name a line");
  else if (new Blob([listOf()]).size > LIST_MAX) sayOfList("the list is larger than 8 MiB: give it in parts, or to imapferryctl");
  else return true;
  $("list-names").focus();
  return false;
}

function migrateList() {
  const names = listOf(), n = listCount();
  askFor({
    title: `Migrate ${count(n, "account")}`, yes: `Queue ${count(n, "account")}`, path: "api/v1/migrate", body: { names },
    what: `All of the list are queued, behind users who log in: copied in the background, compared, and switched over as the policy says (cutover = ${me.cutover}). Those that are queued, under way or there already are left as they are, so the same list may be given again. Users go on working meanwhile.`,
    more: [choice("list-to", "To", [["", "as the configuration says"], ...me.backends.map((b) => [b, b])])],
    collect: () => ($("list-to").value ? { to: $("list-to").value } : {}),
    partly: (e) => e.status === 409 && Array.isArray(e.data.problems),
    after: (d) => $("list-came").replaceChildren(make("p", { role: "status" }, visible(d.message)),
      ...(d.problems.length ? [table("", ["Line", "Name", "Why not"], d.problems.slice(0, 100).map((p) => [number(p.line), nameOf(p.name), visible(p.error)])),
        d.problems.length > 100 ? make("p", { class: "quiet" }, `and ${number(d.problems.length - 100)} more`) : ""] : [])),
  });
}

async function startSurvey() {
  try {
    drawSurvey(await ask("api/v1/survey", { names: listOf() }));
  } catch (e) {
    sayOfList(e.message);
  }
  drawSurveySoon();
}

function drawListsAsk() {
  if (!mayChange()) return $("lists-ask").replaceChildren();
  const server = serverChoice("list-server");
  const names = make("textarea", { id: "list-names", rows: 3, spellcheck: "false", autocapitalize: "none", class: "mono", "aria-describedby": "list-help" });
  $("lists-ask").replaceChildren(
    make("div", { class: "field" }, make("label", { for: "list-names" }, "Login names, one a line"), names,
      make("p", { id: "list-help", class: "quiet" }, "Such as all accounts that the old server has. A survey plans each of them and writes nothing at either server: what can't go and why, sizes, and how long it will take.")),
    make("div", { class: "field" }, make("label", { for: "list-file" }, "or a file that has them"), make("input", { id: "list-file", type: "file", accept: ".txt,.csv,text/plain", onchange: takeListFile })),
    make("p", { id: "list-said", role: "status", class: "quiet" }),
    make("div", { class: "row start" }, button("Survey", () => haveList() && startSurvey()), button("Migrate all", () => haveList() && migrateList()),
      make("span", { class: "pair" }, server, button("May it retire, by this list?", () => haveList() && askLook("retire", { to: server.value, names: listOf() })))),
    make("div", { id: "list-came" }));
}

let surveying = 0;
function drawSurveySoon() {
  const mine = ++surveying;
  const again = async () => {
    const s = await ask("api/v1/survey").catch(() => null);
    if (mine !== surveying || !me) return;
    if (s) drawSurvey(s);
    if (!s || s.running || s.adding) setTimeout(() => mine === surveying && me && again(), 2000);
  };
  again();
}

async function stopSurvey() {
  try {
    drawSurvey(await ask("api/v1/survey/stop", {}));
  } catch (e) {
    say(visible(e.message));
  }
  drawSurveySoon();
}

function eraseSurvey(r) {
  askFor({
    title: "Erase the plans of the survey", yes: "Erase them", path: "api/v1/survey/erase", body: {}, danger: true, reasoned: false, after: drawSurveySoon,
    what: `The plans of ${count(r.accounts, "account")}, and why others could not be planned, are erased on the migrator's disk. No account and no server is touched; a further survey begins anew.`,
  });
}

function surveyState(s) {
  const done = `${number(s.done)} of ${number(s.accounts)} accounts, ${number(s.failed)} could not be planned${s.bad_lines ? `, ${count(s.bad_lines, "line")} that are no names or stand twice` : ""}`;
  if (s.running) return make("div", {}, make("progress", { max: Math.max(1, s.accounts), value: s.done, "aria-label": "Survey" }), make("p", { class: "quiet" }, done, s.left_s !== null ? `, ${duration(s.left_s * 1000)} left` : ""));
  return s.who ? make("p", { role: "status" }, make("b", {}, s.why ? "The survey has stopped: " : "The survey has come to its end: "), s.why ? `${visible(s.why)}; ` : "", done, ".", make("span", { class: "quiet" }, " · ", visible(s.who), " ", when(s.ended))) : null;
}

function surveyResult(r) {
  return make("div", { class: "many" }, make("dl", { class: "numbers" }, figure("Planned", number(r.accounts), `${number(r.blocked)} would be blocked`), figure("Messages", number(r.messages), `in ${number(r.mailboxes)} mailboxes`),
    figure("Mail", bytes(r.bytes)), figure("Tiers", Object.keys(r.tiers).length ? tiersOf(r.tiers) : "–", "to expect"),
    figure("Time", r.hours !== undefined ? duration(r.hours * 3600e3) : "not known", r.rate ? `at ${bytes(r.rate)}/s, as copied so far` : "nothing was copied yet by which to tell")),
    reasonsTable(r.findings, ["Accounts", "Findings", "Kind", "Such as", "What"], (f) => [number(f.findings), make("span", { class: f.blocks ? "bad" : null }, visible(f.kind.replaceAll("_", " "))), examplesOf(f), make("span", {}, f.blocks ? make("b", { class: "bad" }, "blocks: ") : "", visible(f.text))]),
    reasonsTable(r.failed, ["Accounts", "Such as", "Could not be planned"], (f) => [examplesOf(f), make("span", {}, visible(f.error))]));
}

function drawSurvey(s) {
  const none = !s.who && !s.result && !s.adding;
  const may = mayChange() ? [s.running && button("Stop the survey", () => stopSurvey()), s.result && !s.running && button("Erase its plans", () => eraseSurvey(s.result), "danger")].filter(Boolean) : [];
  replaceIfOther($("survey"), JSON.stringify([s, mayChange()]), none ? [make("p", { class: "quiet" }, "No survey was made by this migrator.")] : [
    surveyState(s), s.added_why ? make("p", { class: "bad" }, visible(s.added_why)) : null, s.result ? surveyResult(s.result) : null, may.length ? make("div", { class: "row start" }, may) : null].filter(Boolean));
}

let soon = 0;
function drawSoon() {
  if (!soon) soon = requestAnimationFrame(() => { soon = 0; if (me) draw(); });
}
function draw() {
  drawProblems();
  drawNumbers();
  drawBrake();
  drawWaves();
  drawJobs();
  drawServers();
  drawEvents();
}

/* ---- a list of accounts ---- */

async function drawList(params) {
  const state = params.get("state") || "", reason = params.get("reason") || "";
  const rows = make("div", {}), more = make("div", { class: "row start" });
  const title = make("h1", { tabindex: "-1" }, state || reason ? `Accounts: ${[state, reason].filter(Boolean).join(", ").replaceAll("_", " ")}` : "Accounts with a record");
  const states = make("select", { id: "list-state", onchange: (e) => { location.hash = `list?${query({ state: e.target.value })}`; } },
    make("option", { value: "" }, "any"), STATES.filter(([s]) => s !== "resting").map(([s]) => make("option", { value: s, selected: s === state }, s)));
  $("list").replaceChildren(back(), title, make("div", { class: "row start" }, make("label", { for: "list-state" }, "State"), states), rows, more);
  title.focus();
  const found = [];
  const load = async (cursor) => {
    const answer = await ask(`api/v1/accounts?${query({ state, reason, cursor, count: 100 })}`);
    found.push(...answer.accounts);
    rows.replaceChildren(found.length || answer.next ? table(`${number(found.length)} shown`, ["Account", "State", "On", "Since", "Why"],
      found.map((a) => [accountLink(a), chip(a.state), visible(a.backend), when(a.since), make("span", {}, visible(a.reason || ""), a.next_try ? make("span", { class: "quiet" }, " tried again ", when(a.next_try)) : null)]))
      : make("p", { class: "quiet" }, "There are no such accounts."));
    more.replaceChildren(...(answer.next ? [button("Show more", () => load(answer.next).catch(fail))] : []));
  };
  const fail = (e) => more.replaceChildren(make("p", { class: "bad", role: "alert" }, visible(e.message)));
  await load("").catch(fail);
}

const back = () => make("p", {}, make("a", { href: "#" }, "← Overview"));

/* ---- one account ---- */

function fact(list, term, ...value) {
  if (value.some((v) => v !== "" && v !== null && v !== undefined)) list.append(make("dt", {}, term), make("dd", {}, ...value));
}

const tiersOf = (tiers) => Object.entries(tiers).map(([t, n]) => `${t}: ${number(n)}`).join(", ");

function actionsOf(a) {
  const other = a.backend === a.target ? a.source : a.target;
  const atHome = a.backend === me.source;
  const user = a.user, out = [];
  const act = (label, verb, spec, kind) => out.push(button(label, () => askFor({ path: `api/v1/account/${verb}`, body: { user }, after: () => showAccount(user), ...spec }), kind));
  const moving = ["preparing", "freezing", "flipping"].includes(a.state);
  if (!moving && a.state !== "held" && atHome) {
    act("Migrate", "migrate", { title: `Migrate ${user}`, yes: "Migrate",
      what: `The account is copied to ${other} in the background and compared; then it is switched over as the policy says (cutover = ${me.cutover}). The user goes on working meanwhile.` }, "strong");
    act("Flip now", "flip", { title: `Flip ${user} to ${other}`, yes: "Flip", body: { user, to: other },
      what: `The account is switched over to ${other} as soon as its copy is complete and compared, whatever the policy says. Open sessions stand still for a moment and go on there. Nothing is switched over that differs.` });
  }
  if (a.state === "blocked" || a.state === "backoff")
    act("Retry", "retry", { title: `Retry ${user}`, yes: "Retry", what: "The account is queued now, as for a login. What stopped it will stop it again unless it was put right." });
  if (!moving && a.state !== "held")
    act("Hold", "hold", { title: `Hold ${user}`, yes: "Hold", what: `The account stays on ${a.backend}: a copy under way ends, and nothing moves it until somebody releases it.` });
  if (a.state === "held")
    act("Release", "release", { title: `Release ${user}`, yes: "Release", what: "The account goes back to what it was before, and may move again." }, "strong");
  if (a.record) act("Waive", "waive", waiveSpec(user, []));
  if (atHome) out.push(button("Plan", () => askLook("plan", { user })));
  if (!moving && a.state !== "held" && !atHome)
    act("Send back", "flip", { title: `Send ${user} back to ${other}`, yes: "Send back", danger: true, body: { user, to: other },
      what: `What is new on ${a.backend} is copied back to ${other}, messages that were removed here are removed there, and the account is switched over to ${other}. It is held there until somebody releases it.` }, "danger");
  return out;
}

function waiveSpec(user, keys) {
  const field = make("textarea", { id: "ask-keys", rows: 4, required: true, spellcheck: "false", class: "mono" });
  field.value = keys.join("\n");
  return {
    title: `Waive findings of ${user}`, yes: "Waive", danger: true, path: "api/v1/account/waive", body: { user }, after: () => showAccount(user),
    what: "What is named here stops the switch-over no more. A message that could not be copied is left behind on the old server for good; the report and the audit go on naming it. A blocked account is queued again.",
    more: [make("label", { for: "ask-keys" }, "What: one a line, such as INBOX:17, Trash:share or too_large"), field],
    collect: () => ({ keys: field.value.split("\n").map((k) => k.trim()).filter(Boolean) }),
  };
}

async function showAccount(user) {
  const box = $("account");
  const title = make("h1", { tabindex: "-1" }, nameOf(user));
  const plan = make("section", { class: "panel plan", hidden: true }), group = make("section", { class: "panel", hidden: true });
  const facts = make("div", {}), report = make("section", { class: "panel" }), sessions = make("section", { class: "panel" }), timeline = make("section", { class: "panel" });
  shownUser = user;
  box.replaceChildren(back(), title, facts, plan, group, report, sessions, timeline);
  title.focus();
  await Promise.all([
    ask(userPath("", user)).then((a) => { title.replaceChildren(nameOf(a.user)); shownUser = a.user; drawAccount(facts, a); drawLookSoon(); return askGroup(group, a); }).catch((e) => (e.status === 404 && e.data.user ? (shownUser = e.data.user, drawUnknown(facts, e.data)) : drawFailure(facts, e))),
    ask(userPath("/report", user)).then((r) => drawReport(report, r, user)).catch((e) => drawFailure(report, e, "Mailboxes")),
    ask(userPath("/sessions", user)).then((s) => drawSessions(sessions, s, user)).catch((e) => drawFailure(sessions, e, "Sessions")),
    ask(userPath("/audit", user)).then((t) => drawTimeline(timeline, t)).catch((e) => drawFailure(timeline, e, "Timeline")),
  ]);
}

function drawFailure(box, e, title) {
  box.replaceChildren(...[title ? make("h2", {}, title) : null, make("p", { class: e.status === 404 ? "quiet" : "bad" }, visible(e.message))].filter(Boolean));
}

/* ---- those with whom it is switched over as one */

async function askGroup(box, a) {
  if (!a.group) return;
  box.hidden = false;
  await ask(`api/v1/sharing/group?${query({ group: a.group })}`).then((g) => drawGroup(box, g, a.user)).catch((e) => drawFailure(box, e, `Group ${visible(a.group)}`));
}

const GATHER = { in: "copied, waits for the others", go: "called to be switched over" };

function drawGroup(box, g, user) {
  box.replaceChildren(make("h2", {}, `Group ${visible(g.group)}`),
    make("p", {}, `${count(g.members.length, "account")} that share mailboxes, and are switched over as one. Changed by ${visible(g.changed_by)} `, g.changed ? when(g.changed) : "", g.why ? `: ${visible(g.why)}` : ""),
    table("", ["Account", "State", "On", "In the group", "Why"], g.members.map((m) => [m.user === user ? make("b", {}, nameOf(m.user)) : accountLink(m), chip(m.state), visible(m.backend), GATHER[m.gather] || "", visible(m.reason)])));
}

function drawUnknown(box, a) {
  box.replaceChildren(make("p", {}, visible(a.error)));
  if (mayChange()) box.append(make("div", { class: "actions" }, actionsOf(a)));
}

function drawAccount(box, a) {
  const list = make("dl", { class: "facts" });
  fact(list, "State", chip(a.state));
  fact(list, "Mail is on", visible(a.backend), a.flipped ? " since " : "", a.flipped ? when(a.flipped) : "");
  fact(list, "Login name", a.login ? nameOf(a.login) : "");
  fact(list, "Why", visible(a.reason || ""));
  fact(list, "What to do", visible(a.advice || ""));
  fact(list, "Held up by", visible(a.held_up || ""));
  fact(list, "Last failure", visible(a.last_failure && a.last_failure !== a.reason ? a.last_failure : ""));
  fact(list, "Next try", a.next_try ? when(a.next_try) : "");
  fact(list, "Wave", visible(a.wave?.name || ""), a.wave?.not_its_turn ? `: ${visible(a.wave.not_its_turn)}` : "");
  fact(list, "Group", visible(a.group || ""));
  fact(list, "Attempts", a.attempts ? number(a.attempts) : "");
  fact(list, "Copied", a.messages.total ? progressOf(a) : "");
  fact(list, "Tiers", tiersOf(a.tiers));
  box.replaceChildren(make("div", { class: "panel" }, list), ...(mayChange() ? [make("div", { class: "actions" }, actionsOf(a))] : []));
}

function findingLine(f, user, mailbox) {
  const key = f.key || (f.uid ? `${mailbox || f.mailbox}:${f.uid}` : mailbox || f.mailbox ? `${mailbox || f.mailbox}:${f.kind}` : f.kind);
  const one = !/[\u0000-\u001f\u007f]/.test(key); /* a key a line, and a name must not make two of it */
  return make("li", {}, f.waived ? "waived: " : f.blocks ? make("b", { class: "bad" }, "blocks: ") : "", f.kind.replaceAll("_", " "),
    f.mailbox && !mailbox ? [" in ", nameOf(f.mailbox)] : null, f.uid ? ` UID ${f.uid}` : "", ": ", visible(f.detail), " ",
    f.blocks && !f.waived && one && mayChange() ? button("Waive", () => askFor(waiveSpec(user, [key])), "plain") : null);
}

function mailboxRow(m, user) {
  const findings = (m.findings || []).map((f) => findingLine(f, user, m.name));
  return [make("div", {}, nameOf(m.name), m.target && m.target !== m.name ? make("div", { class: "quiet" }, "→ ", nameOf(m.target)) : null, findings.length ? make("ul", { class: "findings" }, findings) : null),
    m.looked_at ? make("span", { class: "numeric" }, number(m.messages || 0)) : "not compared", m.looked_at ? make("span", { class: "numeric" }, bytes(m.bytes || 0)) : "", make("span", {}, visible(m.tier || ""), m.tier_why ? make("div", { class: "quiet" }, visible(m.tier_why)) : null)];
}

function drawReport(box, data, user) {
  const r = data.report;
  box.replaceChildren(make("h2", {}, "Mailboxes"));
  if (!r) {
    box.append(make("p", { class: "quiet" }, visible(data.message || "No pass over the account has ended yet.")));
  } else {
    box.append(make("p", {}, `Last pass ${r.source} → ${r.target}: `, visible(r.result), r.reason ? `: ${visible(r.reason)}` : "", " ", when(r.time)));
    const own = (r.account || []).map((f) => findingLine(f, user, ""));
    if (own.length) box.append(make("ul", { class: "findings" }, own));
    const list = r.mailboxes || [];
    if (list.length) box.append(table("", ["Mailbox", "Messages", "Size", "Tier"], list.slice(0, 500).map((m) => mailboxRow(m, user))));
    if (r.more_mailboxes || list.length > 500) box.append(make("p", { class: "quiet" }, `and ${number((r.more_mailboxes || 0) + Math.max(0, list.length - 500))} more mailboxes`));
  }
  const waivers = data.waivers || [];
  if (waivers.length) box.append(make("h3", {}, "Waived"), make("ul", { class: "findings" }, waivers.map((w) => make("li", {}, nameOf(w.key), ` ${visible(w.who)}: ${visible(w.why)} `, when(w.when), " ",
    mayChange() && !/[\u0000-\u001f\u007f]/.test(w.key) ? button("Take back", () => askFor({ title: "Take a waiver back", yes: "Take back", path: "api/v1/account/waive", body: { user, keys: [w.key], remove: true }, after: () => showAccount(user),
      what: `The next pass over ${visible(user)} stops at ${visible(w.key)} again. What has been switched over stays where it is.` }), "plain") : null))));
}

function drawSessions(box, data, user) {
  const kick = () => askFor({ title: `End the sessions of ${visible(user)}`, yes: "End them", danger: true, path: "api/v1/account/kick", body: { user }, after: () => showAccount(user),
    what: `${count(data.sessions.length, "session")} of the account end at once, at all proxies. Mail programs come back by themselves, and what they were doing is begun again.` });
  box.replaceChildren(make("div", { class: "row" }, make("h2", {}, "Sessions"), mayChange() && data.sessions.length ? button("End them", kick, "danger") : null), data.sessions.length
    ? table("", ["From", "Proxy", "On", "State", "Since"], data.sessions.map((s) => [nameOf(s.address), nameOf(s.proxy.replace(/-[^-]*$/, "")), visible(s.backend), visible(s.mode), when(s.since)]))
    : make("p", { class: "quiet" }, "Nobody is signed in."));
}

function drawTimeline(box, data) {
  box.replaceChildren(make("h2", {}, "Timeline"), data.audit.length
    ? make("ol", { class: "events" }, data.audit.map((e) => make("li", {}, make("time", { datetime: e.time, title: moment(e.time)?.toLocaleString() }, ago(e.time)),
      make("span", { class: "what" }, make("b", {}, visible(e.what)), ` by ${visible(e.who)}`, e.before || e.after ? ` (${visible(e.before)} → ${visible(e.after)})` : "", e.reason ? make("div", { class: "quiet" }, visible(e.reason)) : null))))
    : make("p", { class: "quiet" }, "Nothing was done with it by staff, and it was never switched over."));
}

/* ---- which view ---- */

function route() {
  if (!me) return;
  const [view, rest] = location.hash.slice(1).split(/\?(.*)/s);
  const params = new URLSearchParams(rest || "");
  const at = view === "account" && params.get("user") ? "account" : view === "list" ? "list" : "overview";
  for (const id of ["overview", "list", "account"]) $(id).hidden = id !== at;
  document.title = at === "account" ? `${visible(params.get("user"))} – imapferry` : at === "list" ? "Accounts – imapferry" : "imapferry";
  if (at === "account") showAccount(params.get("user"));
  else if (at === "list") drawList(params);
  else draw();
}

window.addEventListener("hashchange", route);
$("search").addEventListener("submit", (e) => {
  e.preventDefault();
  const hash = `account?${query({ user: $("search-name").value.trim() })}`;
  if (location.hash.slice(1) === hash) route();
  else location.hash = hash;
});

drawRange();
if (token) enter().catch((e) => { if (e.status !== 401) { $("enter").hidden = false; $("enter-error").textContent = e.message; } });
else leave("");
