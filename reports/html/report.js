// Draws the report: the model stands in the page as JSON, each section is made from it. Texts of the model come from a
// program that may be hostile: they enter the page by textContent alone, never as HTML, and never as an address.
"use strict";

(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const words = JSON.parse(document.getElementById("words").textContent);
  const main = document.getElementById("main");
  const MOST_LOOKS = 24;

  // el("p", "muted", "text", child, …): strings become text nodes.
  function el(name, className, ...children) {
    const element = document.createElement(name);
    if (className) element.className = className;
    element.append(...children.filter((c) => c !== null && c !== undefined && c !== ""));
    return element;
  }

  function section(title, lead, ...children) {
    const id = title.toLowerCase().replace(/[^a-z]+/g, "-");
    const heading = el("h2", "", title);
    heading.id = id;
    const made = el("section", "", heading, lead ? el("p", "lead", lead) : null, ...children);
    made.setAttribute("aria-labelledby", id);
    main.append(made);
  }

  // The model, indexed.
  const threads = new Map(), dead = new Map(), hues = new Map();
  for (const process of report.processes)
    for (const thread of process.threads) threads.set(thread.node, Object.assign(thread, { process }));
  for (const one of report.dead) dead.set(one.node, one);
  const role = (r) => (r ? r.name + "[" + r.index + "]" : "");

  // The stack of a thread, resolved once for all that stand there: its frames, innermost first; the program's own of them
  // (where it began says nothing); and a number that is equal for stacks which read the same.
  const stacks = new Map(), looks = new Map();
  function stackOf({ stack }) {
    if (stacks.has(stack)) return stacks.get(stack);
    const frames = stack === null ? [] : report.stacks[stack].map((i) => report.frames[i]);
    const named = frames.filter((f) => !f.libc && f.function && f.function !== "_start");
    const own = named.filter((f) => !f.runtime); // not of C++'s or Rust's own library
    const text = JSON.stringify(frames.map((f) => [f.function, f.file, f.line, f.function ? "" : f.pc]));
    if (!looks.has(text)) looks.set(text, looks.size);
    stacks.set(stack, { frames, own: own.length ? own : named, look: looks.get(text) });
    return stacks.get(stack);
  }

  const model = {
    report, threads, dead,
    culprits: new Set(report.verdicts.flatMap((v) => v.culprits.map((c) => c.node))),
    victims: new Set(report.verdicts.flatMap((v) => v.victims.map((c) => c.node))),
    anyStuck: [...threads.values()].some((t) => !t.live),
    // Threads that were not named have the name of their process.
    threadName: (thread) => (thread.name !== thread.process.comm ? thread.name
      : thread.tid === thread.process.pid ? "main thread" : "thread " + thread.tid),
    who: (process) => role(process.role) || process.comm,
    family: (process) => (process.role ? process.role.name : process.comm),
    whoDead: (one) => (role(one.role) || "process " + one.pid) + " (dead)",
    familyOfDead: (one) => (one.role ? one.role.name : "processes") + " (dead)",
    hue: (process) => {
      const family = model.family(process);
      if (!hues.has(family)) hues.set(family, hues.size % 7);
      return hues.get(family);
    },
    // Threads that differ in numbers alone look alike; those that wait for a lock only where it is the same one, unless
    // that leaves too many for anyone to read.
    look: (thread) => [model.family(thread.process), thread.process.in_tree, model.threadName(thread).replace(/[0-9]+/g, "#"), thread.wait.class,
      thread.wait.call, !model.crowded && /^(mutex|rwlock|file-lock)$/.test(thread.wait.class) && thread.wait.object && thread.wait.object.key,
      thread.callback && thread.callback.name, thread.rule, stackOf(thread).look],
    ownFrame: (thread) => stackOf(thread).own[0] || null,
    callerFrame: (thread) => stackOf(thread).own[1] || null,
  };
  report.processes.forEach((p) => model.hue(p));
  model.crowded = new Set([...threads.values()].map((t) => JSON.stringify(model.look(t)))).size > MOST_LOOKS;
  // Where everyone who waits is a cause as well, to mark them all says nothing.
  model.everyone = report.verdict.culprits.length > 1 && [...threads.values()].every((t) => t.live || model.culprits.has(t.node))
    && !report.verdict.culprits.some((c) => c.node[0] === "d");
  if (model.everyone) model.culprits = new Set();

  function duration(ms) {
    if (ms === null) return "";
    const sign = ms < 0 ? "−" : "", n = Math.abs(ms);
    if (n < 1000) return sign + n + " ms";
    if (n < 60000) return sign + (n / 1000).toFixed(n < 10000 ? 2 : 1) + " s";
    return sign + Math.floor(n / 60000) + " min " + Math.round((n % 60000) / 1000) + " s";
  }

  // A source's path without "x/../". As it was written, which leads to the file also where x is a link, it stands in the frame's title.
  function fold(path) {
    const parts = [];
    for (const part of path.split("/")) {
      const last = parts[parts.length - 1];
      if (part === ".." && last && last !== "..") parts.pop();
      else if (parts.length === 0 || (part !== "" && part !== ".")) parts.push(part);
    }
    return parts.join("/");
  }

  // The folder that all of the program's own files have in common is not worth repeating in every line.
  const folder = (() => {
    let common = null;
    for (const thread of threads.values())
      for (const { file } of stackOf(thread).own) {
        if (!file || file[0] !== "/") continue;
        const parts = fold(file).split("/").slice(0, -1);
        let same = 0;
        while (common && same < common.length && common[same] === parts[same]) same++;
        common = common ? common.slice(0, same) : parts;
      }
    return common && common.length > 1 ? common.join("/") + "/" : "";
  })();

  function place(frame) {
    if (!frame || !frame.file) return "";
    const file = fold(frame.file);
    return (folder && file.startsWith(folder) ? file.slice(folder.length) : file) + (frame.line ? ":" + frame.line : "");
  }

  function plural(n, one, many) {
    return n + " " + (n === 1 ? one : many);
  }

  // "worker[2], feeder"; the process alone where it has one thread.
  function fullName(thread) {
    const owner = model.who(thread.process);
    const name = model.threadName(thread);
    return thread.process.threads.length === 1 || owner === name ? owner : owner + ", " + name;
  }

  function nameNode(node) {
    if (node === "outside") return "the outside";
    if (node.startsWith("r:")) return "rule " + node.slice(2) + " of the plan";
    if (dead.has(node)) return model.whoDead(dead.get(node)) + ", pid " + dead.get(node).pid;
    const thread = threads.get(node);
    if (!thread) return node;
    const name = fullName(thread);
    return name.endsWith("thread " + thread.tid) ? name : name + " (thread " + thread.tid + ")";
  }

  // Things that look alike, in order of first sight: [[key, members], …].
  function alike(things, keyOf) {
    const groups = new Map();
    for (const thing of things) {
      const key = JSON.stringify(keyOf(thing));
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(thing);
    }
    return [...groups.values()];
  }

  function someNumbers(numbers) {
    return numbers.slice(0, 12).join(", ") + (numbers.length > 12 ? ", …" : "");
  }

  function partyCard(parties) {
    const first = parties[0];
    const more = parties.length > 1;
    if (first.node[0] === "d") {
      const names = parties.map((p) => role(p.role) || "process").join(", ");
      return el("li", "card",
        el("div", "who", names, " ", el("span", "badge bad", "dead")),
        el("div", "", first.how),
        first.last_point ? el("div", "small muted", "last at ", el("code", "", first.last_point)) : null,
        el("div", "small faint", (more ? "pids " : "pid ") + someNumbers(parties.map((p) => p.pid))));
    }
    const thread = threads.get(first.node), caller = thread && model.callerFrame(thread);
    const link = el("a", "", more ? plural(parties.length, "thread", "threads") + " of " + (first.role ? first.role.name : first.process)
      : thread ? fullName(thread) : role(first.role) || first.process);
    link.href = "#" + first.node;
    return el("li", "card",
      el("div", "who", link),
      first.function ? el("div", "mono", first.function) : null,
      first.file ? el("div", "small mono muted", place(first)) : null,
      caller ? el("div", "small muted", "called by ", el("span", "mono", caller.function), caller.file ? ", " + place(caller) : "") : null,
      el("div", "small muted", first.call ? "waits in " + first.call : thread && thread.state === "Z" ? "has ended" : thread && thread.wait.class !== "none" ? "waits" : "runs"),
      thread && thread.callback ? el("div", "small muted", "inside the user’s " + thread.callback.name
        + (thread.callback.for_ms !== null ? ", for " + duration(thread.callback.for_ms) : "")
        + (thread.callback.limit_ms !== null ? ", limit " + duration(thread.callback.limit_ms) : "")) : null,
      el("div", "small faint", (more ? "threads " : "thread ") + someNumbers(parties.map((p) => p.tid))));
  }

  function drawCause() {
    const culprits = report.verdict.culprits;
    if (culprits.length === 0) return;
    const groups = alike(culprits, (p) => (p.node[0] === "d" ? ["d", p.how, p.last_point, p.role && p.role.name]
      : ["t", threads.has(p.node) ? model.look(threads.get(p.node)) : p.node]));
    section(model.everyone ? "Who is in it" : "Cause",
      model.everyone ? "Each of these could end another one’s wait, and none of them gets there." : "Who could have acted, and did not or cannot any more.", el("ul", "cards", ...groups.map(partyCard)));
  }

  function legendItem(name, shape) {
    const picture = wedgeGraph.svg("svg", { width: 26, height: 14, viewBox: "0 0 26 14", "aria-hidden": "true" });
    picture.append(shape);
    return el("li", "", picture, name);
  }

  function legend(drawn) {
    const box = (kind) => {
      const group = wedgeGraph.svg("g", { class: "node hue0 " + kind });
      group.append(wedgeGraph.svg("rect", { class: "box", x: 2, y: 2, width: 22, height: 10, rx: 3 }));
      return group;
    };
    const line = (kind) => {
      const group = wedgeGraph.svg("g", { class: "edge " + kind });
      group.append(wedgeGraph.svg("path", { d: "M1 7L25 7" }));
      return group;
    };
    const items = [legendItem("an arrow leads from who waits to who could end the wait", line(""))];
    if (drawn.circles) items.push(legendItem("part of a closed circle", line("closed")));
    if (drawn.culprits) items.push(legendItem("cause", box("culprit")));
    if (drawn.kinds.has("dead")) items.push(legendItem("dead", box("dead")));
    if (drawn.live) items.push(legendItem("can move", box("live")));
    if (drawn.kinds.has("rule")) items.push(legendItem("a fault of the plan", box("rule")));
    return el("ul", "legend", ...items);
  }

  function edgeList() {
    const rows = [], leaving = new Map();
    for (const e of report.edges.filter((one) => one.kind !== "signal"))
      if (leaving.has(e.from)) leaving.get(e.from).push(e);
      else leaving.set(e.from, [e]);
    for (const thread of threads.values()) {
      const edges = leaving.get(thread.node) || [];
      if (edges.length === 0 || (thread.live && model.anyStuck)) continue;
      const wakers = alike(edges, (e) => [e.to[0], e.why, e.to[0] === "t" && threads.has(e.to) ? model.family(threads.get(e.to).process) : ""]);
      rows.push(el("li", "", el("b", "", nameNode(thread.node)), " waits in ", el("code", "", thread.wait.call || thread.wait.class),
        thread.wait.object ? " for " + (thread.wait.object.describe || thread.wait.object.key) : "", ". Only these could end it:",
        el("ul", "plain", ...wakers.map((group) => el("li", "", group.slice(0, 6).map((e) => nameNode(e.to)).join(", "),
          group.length > 6 ? " and " + (group.length - 6) + " more" : "", group[0].why ? " – " + group[0].why : "")))));
    }
    return rows.length ? el("details", "", el("summary", "", "The same as a list"), el("ul", "plain", ...rows)) : null;
  }

  function drawGraph() {
    const drawn = wedgeGraph.draw(model, main.clientWidth - 70);
    if (!drawn) return;
    const card = el("div", "card graph", drawn.picture);
    card.tabIndex = 0;
    card.setAttribute("role", "group");
    card.setAttribute("aria-label", "The graph; scrolls sideways where it is wide");
    const key = el("div", "graph key", legend(drawn));
    section("Who waits for whom", "", card, key,
      drawn.left ? el("p", "small muted", plural(drawn.left, "more party is", "more parties are") + " left out of the picture.") : null, edgeList());
  }

  // Frames one after the other that are the same: a recursion.
  function runs(frames) {
    const made = [];
    const same = (a, b) => a.pc === b.pc && a.function === b.function && a.line === b.line && a.inlined === b.inlined;
    for (const frame of frames) {
      const last = made[made.length - 1];
      if (last && same(last[0], frame)) last.push(frame);
      else made.push([frame]);
    }
    return made;
  }

  function frameLine(run, here) {
    const frame = run[0];
    const li = el("li", [frame.libc || frame.runtime || frame.function === "_start" ? "libc" : "", frame.function ? "" : "unknown", here ? "here" : ""].filter(Boolean).join(" "));
    const module = frame.module ? frame.module.slice(frame.module.lastIndexOf("/") + 1) : "unknown";
    const name = frame.function || (frame.signal ? "(a signal was delivered)" : module + "+" + frame.offset);
    const inline = frame.inlined ? el("span", "badge", "inlined") : null, signal = frame.signal ? el("span", "badge warn", "signal") : null;
    const times = run.length > 1 ? el("span", "badge", "× " + run.length) : null;
    const fn = el("span", "fn mono", name, inline || signal || times ? " " : "", inline, signal, times);
    if (times) li.style.counterIncrement = "frame " + run.length;
    const at = el("span", "at mono", place(frame) || (frame.libc ? frame.module.slice(frame.module.lastIndexOf("/") + 1) : ""));
    at.title = [frame.file, frame.module, frame.offset, frame.build_id && "build id " + frame.build_id].filter(Boolean).join("\n");
    li.append(fn, at);
    return li;
  }

  function threadBlock(group) {
    const thread = group[0], process = thread.process, own = model.ownFrame(thread);
    const block = el("details", "card thread hue" + model.hue(process));
    block.id = thread.node;
    block.open = !thread.live || model.culprits.has(thread.node) || (!model.anyStuck && process.in_tree);
    const name = group.length > 1 ? model.family(process) + ", " + model.threadName(thread) + " × " + group.length : fullName(thread);
    const badges = [];
    if (model.culprits.has(thread.node)) badges.push(el("span", "badge bad", "cause"));
    badges.push(thread.state === "Z" ? el("span", "badge", "has ended") : thread.live ? el("span", "badge good", thread.wait.class === "none" ? "runs" : "can move") : el("span", "badge bad", "stuck"));
    if (!process.in_tree) badges.push(el("span", "badge", "outside the tree"));
    block.append(el("summary", "", el("span", "who", name), " ", ...badges.flatMap((b) => [b, " "]),
      el("span", "small faint", group.length > 1 ? "threads " + someNumbers(group.map((t) => t.tid))
        : "pid " + process.pid + (thread.tid !== process.pid ? ", thread " + thread.tid : ""))));
    const wait = thread.wait;
    if (wait.class !== "none")
      block.append(el("p", "small", "Waits in ", el("code", "", wait.call || wait.class),
        wait.object ? " for " + (wait.object.describe || wait.object.key) : "",
        wait.wakes_in_ms === null ? "; no clock wakes it" : wait.wakes_in_ms <= 0 ? "; it may wake at any moment" : "; the clock wakes it in " + duration(wait.wakes_in_ms),
        wait.reason ? " (" + wait.reason + ")" : "", "."));
    if (thread.callback)
      block.append(el("p", "small", "Inside the user’s ", el("code", "", thread.callback.function || thread.callback.name),
        " (" + thread.callback.name + ")", thread.callback.for_ms !== null ? " for " + duration(thread.callback.for_ms) : "",
        thread.callback.limit_ms !== null ? "; its limit is " + duration(thread.callback.limit_ms) : "", "."));
    if (thread.rule) block.append(el("p", "small", "Held by rule ", el("code", "", thread.rule), " of the plan."));
    if (thread.last_point) block.append(el("p", "small muted", "Last named place: ", el("code", "", thread.last_point)));
    const { frames } = stackOf(thread);
    if (frames.length)
      block.append(el("ol", "frames", ...runs(frames).map((r) => frameLine(r, r.includes(own) && !thread.live))));
    if (thread.stack_note) block.append(el("p", "small muted", "Stack: " + thread.stack_note));
    else if (!frames.length) block.append(el("p", "small muted", "No stack was taken."));
    return block;
  }

  function drawStacks() {
    const groups = alike(threads.values(), (t) => [model.look(t), t.live, model.culprits.has(t.node), t.stack_note, t.last_point]);
    const weight = (g) => (g[0].live ? 2 : 0) + (g[0].process.in_tree ? 0 : 4) - (model.culprits.has(g[0].node) ? 1 : 0);
    groups.sort((a, b) => weight(a) - weight(b));
    if (groups.length === 0) return;
    section("Stacks", "Innermost call first. The program’s own functions are bold; those of the C library, and of C++’s and Rust’s own, are dimmed. Threads that look alike stand together.",
      ...groups.map(threadBlock));
  }

  function table(heads, rows) {
    const made = el("table", "", el("thead", "", el("tr", "", ...heads.map((h) => el("th", "", h)))), el("tbody", "", ...rows));
    return el("div", "card table", made);
  }

  function drawFaults() {
    if (report.faults.length === 0) return;
    const rows = report.faults.map((f) => {
      const where = alike(f.firings, (x) => [x.place, x.role && x.role.name]).map((g) =>
        el("div", "small muted", (g[0].role ? [...new Set(g.map((x) => role(x.role)))].slice(0, 8).join(", ") : "process " + [...new Set(g.map((x) => x.pid))].slice(0, 8).join(", "))
          + (g[0].place ? " at " + g[0].place : "")));
      const badge = f.fired ? el("span", "badge bad", "fired " + plural(f.fired, "time", "times"))
        : el("span", "badge" + (f.must_fire ? " warn" : ""), f.must_fire ? "never fired, although it had to" : "never fired");
      return el("tr", "", el("td", "num", f.line === null ? "" : "line " + f.line), el("td", "wide", el("code", "", f.text), ...where),
        el("td", "num", badge, f.held_now ? " " : "", f.held_now ? el("span", "badge warn", "holds a thread now") : null,
          el("div", "small faint", "of " + plural(f.hits, "hit", "hits"))));
    });
    section("Faults", "What the plan did to the program.", table(["Plan", "Rule", "What came of it"], rows));
  }

  function drawInjection() {
    const i = report.injection;
    if (!i) return;
    const items = [];
    const sentences = (text) => text.split("; ").filter((s) => s);
    if (i.invalid) for (const id of i.unfired) items.push(id + " had to fire and has not");
    items.push(...sentences(i.missed), ...sentences(i.noted));
    for (const a of i.absent) items.push("without the agent: " + a.path + (a.pid === null ? "" : " (" + a.pid + ")") + ", which " + a.why);
    if (i.more_absent) items.push("without the agent: " + i.more_absent + " more");
    if (i.lost_processes || i.lost_threads)
      items.push(plural(i.lost_processes, "process", "processes") + " and " + plural(i.lost_threads, "thread", "threads") + " found no room in the arena");
    if (items.length === 0) return;
    section("What the plan did not reach", i.invalid ? "The run is invalid: the plan did not happen as it says." : "Roles, marks and faults are not known of these.",
      el("div", "card", el("ul", "plain", ...items.map((s) => el("li", "", s)))));
  }

  function drawTimeline() {
    if (report.timeline.length < 2) return;
    const base = report.timeline.some((e) => e.at_ms !== null) ? null : report.taken_ns;
    const rows = alike(report.timeline, (e) => [e.at_ms, e.at_ns, e.text]).map(([e]) =>
      el("tr", "", el("td", "num mono", base === null ? duration(e.at_ms) : duration(Math.round((e.at_ns - base) / 1e6))),
        el("td", "wide", e.text, e.node && threads.has(e.node) ? el("span", "muted", " – " + nameNode(e.node)) : null)));
    section("Timeline", base === null ? "Since the command began." : "Before and after the look.", table(["Time", "Event"], rows));
  }

  function drawOthers() {
    if (report.verdicts.length < 2) return;
    section("Also found", "Other closed sets, less important than the headline.",
      ...report.verdicts.slice(1).map((v) => el("div", "card", el("div", "who", words.kinds[v.kind] || v.kind, " ",
        el("span", "badge", v.certainty), " ", el("span", "badge", v.scope)), el("p", "", v.summary))));
  }

  function drawBasis() {
    const list = [];
    for (const a of report.verdict.assumptions) list.push(el("li", "", words.assumptions[a] || a));
    const lacks = [];
    if (report.complete) lacks.push(el("li", "", report.complete));
    for (const s of report.skipped) lacks.push(el("li", "", "process " + s.pid + " was left out: " + s.step));
    const d = report.disturbance, eintr = d.may_have_seen_eintr;
    const touched = d.stopped
      ? "For their stacks " + plural(d.threads_stopped, "thread was", "threads were") + " stopped, the longest for " + (d.longest_stop_us / 1000).toFixed(2) + " ms, and let go again."
      : "Nothing was stopped.";
    if (report.processes.length === 0) return;
    section("How far to trust this", "",
      el("div", "card",
        list.length ? el("p", "", "It holds as long as:") : null, list.length ? el("ul", "plain", ...list) : null,
        lacks.length ? el("p", "", "What could not be seen:") : el("p", "", "Everything that could be a waker was looked at."),
        lacks.length ? el("ul", "plain", ...lacks) : null,
        el("p", "", touched),
        eintr.length ? el("p", "", "A stop ends these calls with EINTR, or with the part that was done, which a program should expect; or wakes who sleeps for a word that has changed: "
          + eintr.map((e) => nameNode(e.node) + " in " + e.call + (e.when === "always" ? "" : " (" + e.when + ")")).join("; ") + ".") : null,
        report.verdict.signature ? el("p", "small muted", "Signature ", el("code", "", report.verdict.signature),
          " – the same hang has the same one on another day.") : null));
  }

  function drawRun() {
    const r = report.run, m = report.metrics;
    const facts = [
      ["Verb", r.verb], ["Scenario", r.scenario], ["Preset", r.preset],
      ["Command", r.command ? r.command.join(" ") : report.root ? "process " + report.root + ", which ran already" : null],
      ["Started", r.started], ["Duration", r.duration_ms === null ? null : duration(r.duration_ms)],
      ["Ended", r.signal !== null ? "by signal " + r.signal : r.exit_status !== null ? "with status " + r.exit_status : null],
      ["Seed", r.command ? r.seed : null], ["Agent", r.command ? (r.agent ? "preloaded" : "none") : null],
      ["Processes and threads", plural(m.processes, "process", "processes") + ", " + plural(m.threads, "thread", "threads")
        + (m.stuck_threads ? ", " + m.stuck_threads + " stuck" : "") + (m.dead_processes ? ", " + plural(m.dead_processes, "process", "processes") + " dead" : "")],
      ["Progress marks", m.progress ? String(m.progress) : null],
      ["Machine", "Linux " + r.host.kernel + ", " + r.host.machine + ", " + plural(r.host.cpus, "processor", "processors") + ", libc " + r.host.libc],
      ["wedge", report.wedge.version],
    ].filter(([, value]) => value);
    section("The run", "", el("div", "card", el("dl", "facts", ...facts.map(([k, v]) => el("div", "", el("dt", "", k), el("dd", "", v))))));
    if (report.output.length)
      section("Last output", "What the command printed last.", el("div", "card", el("pre", "", report.output.join("\n"))));
  }

  drawCause();
  drawGraph();
  drawStacks();
  drawFaults();
  drawInjection();
  drawTimeline();
  drawOthers();
  drawBasis();
  drawRun();

  // On paper everything is open.
  let closed = [];
  window.addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const d of closed) d.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const d of closed) d.open = false;
  });
  // A link to a thread opens it.
  function reveal() {
    const target = document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") target.open = true;
  }
  window.addEventListener("hashchange", reveal);
  document.documentElement.dataset.drawn = "yes"; // tests look for it
})();
