// The calculator: which runner for the reader's work, as they type. The model's functions are those of
// reports/model/{costs,model}.py and reports/choose/{ranking,choice}.py under the same names, on the terms that
// reports/pages/calculator.py embeds; the browser tests hold every answer to that of choice.rank.

const KNOWN = JSON.parse(document.getElementById("calculator-data").textContent);
const LIMITS = KNOWN.limits;

// --- reports/model/costs.py: seconds of a workload, from the terms of one arm ---

function serial_kinds(costs) {
  if (costs.event_loop) return LIMITS.CPU_KINDS;
  return costs.shares_gil ? LIMITS.GIL_KINDS : [];
}

function away(costs, api_latency_s) {
  if (api_latency_s === null || costs.api_trips === null) return costs;
  const farther_s = api_latency_s - costs.api_latency_s;
  return {
    ...costs,
    cold_s: costs.cold_s === null ? null : Math.max(costs.cold_s + costs.api_trips.flow_run * farther_s, 0),
    slot_s: Math.max(costs.slot_s + costs.api_trips.task * farther_s, 0),
    api_latency_s,
  };
}

function start_factor(costs, slots, cores) {
  if (!costs.starts_slots) return 1;
  const at_once = cores || costs.measured_slots;
  return Math.max(slots, at_once) / Math.max(costs.measured_slots, at_once);
}

function prefect_factor(costs, body_s) {
  return 1 + (costs.stirred - 1) * Math.min(body_s / LIMITS.STIRRED_S, 1);
}

// The last task has its body to itself.
function last_s(costs, work) {
  return (work.body_s * Math.min(work.tasks, 1) + prefect_factor(costs, work.body_s) * costs.slot_s) * Math.min(work.tasks, 1);
}

function busy(costs, work, slots, cores) {
  const { tasks, body_s, kind } = work;
  const some = Math.min(tasks, 1);
  const more = prefect_factor(costs, body_s);
  let serial = more * costs.driver_s * Math.max(tasks - 1, 0) + last_s(costs, work);
  if (serial_kinds(costs).includes(kind) && slots !== 1) serial = more * costs.driver_s * tasks + body_s * tasks;
  const workers = more * costs.slot_s * Math.max(tasks / slots, some) + body_s * Math.ceil(tasks / slots);
  if (!cores) return { serial, workers, machine: 0 };
  const computing = more * costs.cpu_s * tasks + (LIMITS.CPU_KINDS.includes(kind) ? body_s * tasks : 0);
  const together = (computing + costs.server_fixed_cpu_s * some + costs.server_cpu_s * tasks) / cores;
  const ahead = cores > 1 ? computing / (cores - 1) : 2 * computing;
  return { serial, workers, machine: Math.min(together, ahead) };
}

function makespan_s(costs, work, slots, cores) {
  const places = busy(costs, work, slots, cores);
  const last = last_s(costs, work);
  const before = [places.serial, places.workers].map((place) => Math.max(place - last, 0));
  const scale = Math.max(...before, 1e-12);
  const shares = before.reduce((sum, place) => sum + (place / scale) ** LIMITS.OVERLAP, 0) ** (1 / LIMITS.OVERLAP);
  const joined = Math.max(scale * shares, places.machine - last);
  const fixed = costs.fixed_s * (costs.pool_in_run ? start_factor(costs, slots, cores) : 1);
  return fixed + last + joined + (costs.payload_s || 0) * work.payload_bytes;
}

function cold_start_s(costs, slots, cores) {
  return (costs.cold_s || 0) * (costs.pool_in_run ? 1 : start_factor(costs, slots, cores));
}

function at_heartbeat_s(costs, seconds) {
  if (!costs.heartbeat_s) return seconds + costs.outside_s;
  return costs.heartbeat_s * Math.ceil(seconds / costs.heartbeat_s) + costs.outside_s;
}

function usually_at_heartbeat_s(costs, seconds) {
  if (!costs.heartbeat_s) return at_heartbeat_s(costs, seconds);
  const beats = Math.max(seconds / costs.heartbeat_s, 1e-9);
  const [low, high] = [beats * (1 - LIMITS.OFF), beats * (1 + LIMITS.OFF)];
  return (costs.heartbeat_s * (ceilings(high) - ceilings(low))) / (high - low) + costs.outside_s;
}

// The integral of `ceil` from 0.
function ceilings(end) {
  const whole = Math.floor(end);
  return (whole * (whole + 1)) / 2 + (end - whole) * (whole + 1);
}

function bottleneck(costs, work, slots, cores) {
  const places = busy(costs, work, slots, cores);
  const submitting = costs.driver_s * work.tasks;
  if (costs.event_loop) return !LIMITS.CPU_KINDS.includes(work.kind) && work.body_s > submitting ? "body" : "loop";
  const others = Math.max(places.workers, places.machine);
  const gil = serial_kinds(costs).includes(work.kind) && slots > 1;
  if (gil && work.body_s * work.tasks > 0.5 * others) return "gil";
  if (places.serial > others && submitting > work.body_s) return "submit";
  return places.workers >= places.machine ? "workers" : "machine";
}

// --- reports/model/model.py: what an arm takes, and how sure that is ---

function slots_of(arm, workers) {
  if (arm.costs.event_loop) return LIMITS.UNLIMITED;
  return arm.engine === "none" ? 1 : workers === null ? arm.workers : workers;
}

function total_s(arm, work, cold, slots) {
  const warm = makespan_s(arm.costs, work, slots, arm.cores);
  return cold ? usually_at_heartbeat_s(arm.costs, warm + cold_start_s(arm.costs, slots, arm.cores)) : warm;
}

function bodies_s(arm, work, slots) {
  const all = work.body_s * work.tasks;
  if (serial_kinds(arm.costs).includes(work.kind)) return all;
  const at_once = LIMITS.CPU_KINDS.includes(work.kind) ? Math.min(slots, arm.cores || slots) : slots;
  return Math.max(all / at_once, work.body_s);
}

// Of the logarithm, to first order in the logarithms of the fitted terms (delta method).
function terms_variance(arm, work, slots) {
  const log_time = (costs) => Math.log(makespan_s(costs, work, slots, arm.cores) + 1e-12);
  const at = Object.fromEntries(arm.names.map((name) => [name, arm.costs[name] || 0]));
  const base = log_time({ ...arm.costs, ...at });
  const step = 1e-3;
  const slopes = arm.names.map(
    (name) => (log_time({ ...arm.costs, ...at, [name]: at[name] * Math.exp(step) }) - base) / step,
  );
  let variance = 0;
  slopes.forEach((one, i) => slopes.forEach((other, j) => (variance += arm.covariance[i][j] * one * other)));
  return variance;
}

function log_sd(arm, work, cold, slots) {
  const warm = makespan_s(arm.costs, work, slots, arm.cores);
  const rest = 1 - Math.min(bodies_s(arm, work, slots) / Math.max(warm, 1e-12), 1);
  const misfit = arm.misfit * Math.sqrt(LIMITS.SURE_SHARE + (1 - LIMITS.SURE_SHARE) * rest);
  const variance = misfit ** 2 + terms_variance(arm, work, slots);
  if (!cold) return Math.sqrt(variance);
  const start = cold_start_s(arm.costs, slots, arm.cores);
  return Math.sqrt(variance * warm ** 2 + (arm.cold_noise * start) ** 2) / total_s(arm, work, cold, slots);
}

// The 90 % interval of a single run.
function ends(arm, work, cold, slots) {
  const seconds = total_s(arm, work, cold, slots);
  const reach = Math.min(arm.t_quantile * Math.hypot(log_sd(arm, work, cold, slots), arm.noise), 50);
  const found = [seconds * Math.exp(-reach), seconds * Math.exp(reach)];
  if (!cold || !arm.costs.heartbeat_s) return found;
  const last = makespan_s(arm.costs, work, slots, arm.cores) + cold_start_s(arm.costs, slots, arm.cores);
  const [low, high] = [-reach, reach].map((way) => at_heartbeat_s(arm.costs, last * Math.exp(way)));
  return [Math.min(found[0], low), Math.max(found[1], high)];
}

// --- reports/choose/ranking.py and choice.py: who leads, and who cannot be told from it ---

function slot_counts(arm, kind) {
  const cores = arm.cores || arm.workers;
  if (kind !== "sleep") return [cores];
  const most = arm.costs.starts_slots ? LIMITS.MOST_PROCESSES_A_CORE * cores : Math.max(LIMITS.MOST_THREADS, cores);
  const found = [cores];
  while (found.at(-1) < most) found.push(Math.min(2 * found.at(-1), most));
  return found;
}

// The arm with the slots that were asked for, else the fewest with which it is as fast as with any number of them.
function place(arm, request) {
  const work = workload(request);
  const tried = request.workers || !arm.has_slots ? [slots_of(arm, request.workers)] : slot_counts(arm, work.kind);
  const times = tried.map((slots) => total_s(arm, work, request.cold, slots_of(arm, slots)));
  const first = times.findIndex((time) => time <= LIMITS.AS_GOOD * Math.min(...times));
  const chosen = request.workers && arm.has_slots;
  const slots = chosen ? tried[first] : Math.min(tried[first], Math.max(work.tasks, arm.workers));
  const seconds = times[first];
  return { arm, work, slots, seconds, log_sd: log_sd(arm, work, request.cold, slots_of(arm, slots)) };
}

function workload(request) {
  return {
    tasks: request.tasks,
    body_s: request.seconds,
    kind: request.seconds ? request.kind : "none",
    payload_bytes: request.payload_bytes * request.tasks,
  };
}

function candidates(request) {
  return KNOWN.arms
    .filter((arm) => !request.cold || arm.costs.cold_s !== null)
    .filter((arm) => !(arm.costs.event_loop && LIMITS.CPU_KINDS.includes(request.kind)))
    .map((arm) => ({
      ...arm,
      cores: request.cores === null || arm.cores === null ? arm.cores : request.cores,
      costs: away(arm.costs, request.api_latency_s),
    }));
}

// The simplest arm that is as good as the fastest; arms come in the order of simplicity.
function named(placed) {
  const fastest_s = Math.min(...placed.map((one) => one.seconds));
  return placed.find((one) => one.seconds <= LIMITS.AS_GOOD * fastest_s);
}

function behind(one, first) {
  const limit = LIMITS.ONE_SIDED * Math.hypot(one.log_sd, first.log_sd);
  return Math.log(one.seconds / first.seconds) > Math.min(Math.max(limit, LIMITS.SMALLEST_TIE), LIMITS.LARGEST_TIE);
}

// The named arm first, then the others by time.
function rank(request) {
  const placed = candidates(request).map((arm) => place(arm, request));
  if (!placed.length) return [];
  const first = named(placed);
  const others = placed.filter((one) => one !== first).sort((one, other) => one.seconds - other.seconds);
  return [first, ...others].map((one) => ranked(one, request, one === first || !behind(one, first)));
}

function ranked({ arm, work, slots }, request, leads) {
  const held = slots_of(arm, slots);
  const seconds = total_s(arm, work, request.cold, held);
  const [low, high] = ends(arm, work, request.cold, held);
  const { driver, workers, slot } = arm.memory;
  return {
    arm: arm.label,
    has_slots: arm.has_slots,
    event_loop: arm.costs.event_loop,
    slots,
    seconds,
    low,
    high,
    memory_bytes: driver === null ? null : driver + (slot === null ? workers : slot * slots) + work.payload_bytes,
    bottleneck: bottleneck(arm.costs, work, slots, arm.cores),
    leads,
    colour: arm.colour,
    lean: arm.lean,
    caveat: arm.caveat,
  };
}

// The arm to name where tasks are no async functions, if the named one needs them to be.
function without_async(request, answer) {
  if (!answer.length || !answer[0].event_loop) return null;
  const placed = candidates(request).filter((arm) => !arm.costs.event_loop).map((arm) => place(arm, request));
  return placed.length ? answer.find((one) => one.arm === named(placed).arm.label) : null;
}

// Whether the work is beyond what the run measured.
function estimate(request) {
  const reach = candidates(request).map((arm) => arm.reach);
  return (
    request.tasks > LIMITS.BEYOND * Math.max(...reach.map((one) => one.tasks)) ||
    request.seconds > LIMITS.BEYOND * Math.max(...reach.map((one) => one.body_s)) ||
    (request.kind !== "none" && reach.every((one) => !one.kinds.includes(request.kind)))
  );
}

// --- reports/words/units.py and reports/choose/answer.py: numbers and sentences as a reader sees them ---

function digits(value) {
  const rounded = Number(value.toPrecision(3));
  if (rounded === 0) return "0";
  if (Math.abs(rounded) >= 1e6 || Math.abs(rounded) < 1e-4) return rounded.toPrecision(2).replace(/e\+?/, "e");
  return rounded.toFixed(Math.max(0, 2 - Math.floor(Math.log10(Math.abs(rounded)))));
}

function seconds_said(value) {
  if (value >= 7200) return `${digits(value / 3600)} h`;
  if (value >= 100) return `${digits(value / 60)} min`;
  if (value >= 0.9995) return `${digits(value)} s`;
  if (value >= 0.0009995) return `${digits(value * 1e3)} ms`;
  return value ? `${digits(value * 1e6)} µs` : "0 s";
}

function span(low, high) {
  const [first, unit] = low.split(" ");
  return `${unit === high.split(" ")[1] ? first : low}–${high}`;
}

function size(value) {
  const [scale, unit] = [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]].find(([limit]) => value >= limit) || [1, "B"];
  return `${unit === "B" ? value.toFixed(0) : Number((value / scale).toPrecision(3))} ${unit}`;
}

function placed_said(one) {
  return one.has_slots ? `${one.arm} with ${one.slots} slot${one.slots === 1 ? "" : "s"}` : one.arm;
}

function headline(answer) {
  return `Take ${placed_said(answer[0])}: ${seconds_said(answer[0].seconds)} (${between(answer[0])}).`;
}

function otherwise(request, answer) {
  const other = without_async(request, answer);
  return other ? `It needs async tasks; with others take ${placed_said(other)}: ${seconds_said(other.seconds)}.` : "";
}

function between(one) {
  return span(seconds_said(one.low), seconds_said(one.high));
}

// What decides, who is next, and how far to trust it.
function reasons(request, answer) {
  const first = answer[0];
  const said = [`The limit is ${KNOWN.why[first.bottleneck]}.`];
  const next = answer.find((one) => !one.leads);
  if (next) said.push(`Next is ${placed_said(next)}: ${(next.seconds / first.seconds).toPrecision(2)}x slower.`);
  if (estimate(request)) said.push("An estimate: the work is more than twice what this run measured.");
  const widest = Math.max(...answer.filter((one) => one.leads).map((one) => one.high / one.low));
  if (widest >= LIMITS.VAGUE) said.push("The interval is too wide to rely on: measure again on a quiet machine.");
  return said.join(" ");
}

// --- The question: fields, and the page's address ---

const FORM = document.getElementById("calculator");
const BYTES = { "": 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30 };
const SECONDS = { "": 1, s: 1, ms: 1e-3, us: 1e-6, µs: 1e-6, min: 60, h: 3600 };
const OPTIONS = ["tasks", "task-seconds", "work", "payload", "workers", "startup", "cores", "api-latency"];

function count(field, text) {
  if (!/^\d+([,_ ]\d{3})*$/.test(text)) throw new Error(`${field}: write a whole number, such as 1000.`);
  const value = Number(text.replace(/[,_ ]/g, ""));
  const most = field === "Tasks" ? LIMITS.MOST_TASKS : LIMITS.MOST_WORKERS;
  if (value < 1 || value > most) throw new Error(`${field}: from 1 to ${most}.`);
  return value;
}

function measure(field, text, units, example, most) {
  const match = /^((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*([^\W\d]*|µs)$/i.exec(text);
  const unit = match ? units[match[2].toLowerCase()] : undefined;
  if (unit === undefined) throw new Error(`${field}: write it like ${example}.`);
  const value = Number(match[1]) * unit;
  if (!(value <= most)) throw new Error(`${field}: at most ${most} ${units === BYTES ? "bytes" : "seconds"}.`);
  return value;
}

// The fields by the names of the options of `runner-lab choose`; empty ones are left out.
function asked() {
  const fields = new FormData(FORM);
  const all = OPTIONS.map((name) => [name, String(fields.get(name) ?? "").trim()]);
  const given = Object.fromEntries(all.filter(([, value]) => value !== ""));
  if (given.work === "cpu" && fields.get("no-gil")) given.work = "cpu-no-gil";
  return given;
}

function request_of(given) {
  const optional = (name, read) => (given[name] === undefined ? null : read(given[name]));
  const seconds = measure("Seconds each", given["task-seconds"] ?? "", SECONDS, "0.3 or 300ms", LIMITS.LONGEST_S);
  return {
    tasks: count("Tasks", given.tasks ?? ""),
    seconds,
    kind: seconds ? LIMITS.KINDS[given.work] : "none",
    payload_bytes: optional("payload", (text) => measure("Payload", text, BYTES, "200kB", LIMITS.LARGEST_BYTES)) ?? 0,
    workers: optional("workers", (text) => count("Slots", text)),
    cold: given.startup === "cold",
    cores: optional("cores", (text) => count("Cores", text)),
    api_latency_s: optional("api-latency", (text) =>
      measure("API away", text, SECONDS, "80ms", LIMITS.LONGEST_API_LATENCY_S),
    ),
  };
}

function fill(given) {
  const kind = LIMITS.KINDS[given.work];
  const shown = { ...given, "task-seconds": kind === "none" ? "0" : given["task-seconds"] };
  for (const name of OPTIONS) {
    const field = FORM.elements.namedItem(name);
    if (field && name !== "work" && name !== "startup") field.value = shown[name] ?? "";
  }
  FORM.elements.namedItem("work").value = LIMITS.CPU_KINDS.includes(kind) ? "cpu" : "io";
  FORM.elements.namedItem("no-gil").checked = kind === "crunch";
  const startup = FORM.elements.namedItem("startup");
  if (startup) startup.value = given.startup === "cold" ? "cold" : "warm";
  const more = ["payload", "workers", "cores", "api-latency"].some((name) => given[name]);
  if (more || kind === "crunch") FORM.querySelector("details").open = true;
}

function read_address() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  return given.tasks ? { ...KNOWN.question, ...given } : null;
}

// --- The answer on the page ---

const CUT = 10; // Times the best one's time beyond which a bar is cut: the others stay readable.

function element(tag, name, ...content) {
  const made = document.createElement(tag);
  made.className = name;
  made.append(...content);
  return made;
}

function bar(one, longest_s) {
  const share = (value) => `${Math.min((100 * value) / longest_s, 100)}%`;
  const track = element("span", "track");
  const length = element("span", `bar${one.lean ? " lean" : ""}${one.seconds > longest_s ? " cut" : ""}`);
  length.style.setProperty("--arm", one.colour);
  length.style.width = share(one.seconds);
  track.append(length);
  if (one.low < longest_s) {
    const interval = element("span", `interval${one.high > longest_s ? " cut" : ""}`);
    interval.style.left = share(one.low);
    interval.style.right = `calc(100% - ${share(one.high)})`;
    track.append(interval);
  }
  track.setAttribute("aria-hidden", "true");
  return track;
}

function row(one, place, longest_s) {
  const slots = one.has_slots ? element("small", "", one.slots, element("span", "", one.slots === 1 ? " slot" : " slots")) : "";
  const tag = place === 0 ? "best" : one.leads ? "as fast" : "";
  const name = element("span", "arm", element("b", "", one.arm), " ", slots, " ", tag ? element("em", "", tag) : "");
  const time = element("span", "time", element("b", "", seconds_said(one.seconds)), " ", element("small", "", between(one)));
  const memory = element("span", "memory", one.memory_bytes === null ? "-" : size(one.memory_bytes));
  const made = element("li", one.leads ? "leads" : "", name, bar(one, longest_s), time, memory);
  if (one.caveat) made.title = one.caveat;
  return made;
}

function show(request) {
  const answer = rank(request);
  const [sentence, why, list] = ["answer", "why", "ranking"].map((id) => document.getElementById(id));
  const told = answer.length ? headline(answer) : "No runner can be predicted for this.";
  sentence.replaceChildren(element("b", "", told), " ", answer.length ? otherwise(request, answer) : "");
  why.textContent = answer.length ? reasons(request, answer) : "";
  const most_s = Math.max(...answer.map((one) => one.high));
  const longest_s = Math.min(most_s, CUT * (answer[0]?.seconds ?? 0));
  list.replaceChildren(...answer.map((one, place) => row(one, place, longest_s)));
  mark_map(request);
}

function ask({ keep = true } = {}) {
  const problem = document.getElementById("problem");
  const given = asked();
  try {
    show(request_of(given));
    problem.textContent = "";
    FORM.classList.remove("wrong");
    if (keep) history.replaceState(null, "", `#${new URLSearchParams(given)}`);
  } catch (error) {
    problem.textContent = error.message;
    FORM.classList.add("wrong");
  }
}

// --- The map: a click or a tap on a point asks that point ---

function round_2(value) {
  return Number(value.toPrecision(2));
}

function along([low, high], share) {
  return low * (high / low) ** Math.min(Math.max(share, 0), 1);
}

function share_of([low, high], value) {
  return Math.min(Math.max(Math.log(value / low) / Math.log(high / low), 0), 1);
}

// A panel of the map, with its background in the coordinates of the drawing.
const PANELS = KNOWN.panels.flatMap((panel) => {
  const background = document.getElementById(`decision-map-${panel.id}`)?.querySelector("path");
  return background ? [{ ...panel, background, svg: background.ownerSVGElement }] : [];
});

function ask_map(event) {
  for (const panel of PANELS) {
    const box = panel.background.getBoundingClientRect();
    const [right, up] = [(event.clientX - box.left) / box.width, (box.bottom - event.clientY) / box.height];
    if (right < 0 || right > 1 || up < 0 || up > 1) continue;
    fill({
      ...asked(),
      tasks: String(Math.max(1, Math.round(round_2(along(panel.tasks, right))))),
      "task-seconds": String(round_2(along(panel.seconds, up))),
      work: panel.kind === "sleep" ? "io" : "cpu",
      startup: panel.cold ? "cold" : "warm",
    });
    ask();
    const said = document.getElementById("map-answer");
    const back = element("button", "", "See all runners");
    back.type = "button";
    back.addEventListener("click", () => FORM.scrollIntoView());
    const { tasks, "task-seconds": seconds, work, startup } = asked();
    const work_said = work === "io" ? "waits" : "computes";
    const question = `${tasks} tasks, each ${work_said} ${seconds_said(Number(seconds))}, ${startup}`;
    said.replaceChildren(`${question}. ${document.getElementById("answer").textContent} `, back);
    said.hidden = false;
    return;
  }
}

// A ring in the panel of the question, where it lies within.
function mark_map(request) {
  document.querySelectorAll(".asked").forEach((ring) => ring.remove());
  const panel = PANELS.find((one) => one.kind === request.kind && one.cold === request.cold);
  if (!panel) return;
  const box = panel.background.getBBox();
  for (const name of ["asked halo", "asked"]) {
    const ring = document.createElementNS(panel.svg.namespaceURI, "circle");
    ring.setAttribute("class", name);
    ring.setAttribute("cx", box.x + box.width * share_of(panel.tasks, request.tasks));
    ring.setAttribute("cy", box.y + box.height * (1 - share_of(panel.seconds, request.seconds)));
    ring.setAttribute("r", 5);
    panel.svg.append(ring);
  }
}

PANELS[0]?.svg.addEventListener("click", ask_map);
FORM.hidden = false;
fill(read_address() ?? KNOWN.question);
ask({ keep: false });
FORM.addEventListener("input", () => ask());
FORM.addEventListener("submit", (event) => event.preventDefault());
window.addEventListener("hashchange", () => {
  const given = read_address();
  if (given) {
    fill(given);
    ask({ keep: false });
  }
});
