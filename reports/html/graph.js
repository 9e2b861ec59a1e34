// Who waits for whom, as a picture: the model becomes a graph of few nodes (threads that look alike become one), dagre
// places it, and it is drawn as SVG. Texts of the model enter the page by textContent alone.
"use strict";

const wedgeGraph = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const MOST_NODES = 60;
  const ALONE_UP_TO = 5; // up to so many boxes, two that look alike are still drawn apart
  const SMALLEST = 0.72; // how far a wide picture may shrink before it scrolls
  const LABEL = 30, NODE = 34; // characters before a text is cut; the whole stands in its title

  function svg(name, attributes, ...children) {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes || {})) element.setAttribute(key, value);
    for (const child of children) if (child) element.append(child);
    return element;
  }

  function text(words, attributes) {
    const element = svg("text", attributes);
    element.textContent = words;
    return element;
  }

  function cut(words, most) {
    const characters = Array.from(words);
    return characters.length > most ? characters.slice(0, most - 1).join("") + "…" : words;
  }

  function fileName(path) {
    return path.slice(path.lastIndexOf("/") + 1);
  }

  // Which threads, dead processes and rules take part.
  function parties(model) {
    const wanted = new Set();
    for (const v of model.report.verdicts) for (const p of [...v.culprits, ...v.victims]) wanted.add(p.node);
    for (const thread of model.threads.values())
      if (!thread.live || (!model.anyStuck && thread.process.in_tree)) wanted.add(thread.node);
    const edges = model.report.edges.filter((e) => e.kind !== "signal" && wanted.has(e.from));
    for (const e of edges) wanted.add(e.to);
    return { wanted, edges };
  }

  function describeThread(model, thread) {
    const frame = model.ownFrame(thread);
    const caller = model.callerFrame(thread);
    const lines = [];
    if (frame) lines.push({ words: frame.function + (caller ? " ‹ " + caller.function : ""), code: true });
    const where = frame && frame.file ? fileName(frame.file) + (frame.line ? ":" + frame.line : "") : "";
    const call = thread.state === "Z" ? "has ended" : thread.wait.class === "none" ? "runs" : thread.wait.call ? "in " + thread.wait.call : thread.wait.class;
    lines.push({ words: [call, where].filter(Boolean).join(" · "), muted: true });
    if (thread.callback) lines.push({ words: "inside " + thread.callback.name, muted: true });
    return lines;
  }

  // What the box of a node says; nodes with the same `look` look alike.
  function boxOf(model, node) {
    const thread = model.threads.get(node), dead = model.dead.get(node);
    const culprit = model.culprits.has(node);
    if (thread) {
      const lines = describeThread(model, thread);
      return {
        kind: "thread", culprit, live: thread.live, node, hue: model.hue(thread.process), process: thread.process, head: model.threadName(thread), lines,
        look: JSON.stringify(["t", model.look(thread), culprit, thread.live]),
      };
    }
    if (dead)
      return {
        kind: "dead", culprit, node, hue: 7, head: model.whoDead(dead), family: model.familyOfDead(dead),
        look: JSON.stringify(["d", model.familyOfDead(dead), dead.how, dead.last_point]),
        lines: [{ words: dead.how, muted: true }, ...(dead.last_point ? [{ words: "last at " + dead.last_point, muted: true }] : [])],
      };
    if (node.startsWith("r:")) {
      const rule = model.report.faults.find((f) => f.id === node.slice(2));
      return { kind: "rule", culprit, node, hue: 3, look: node, head: "rule " + node.slice(2) + " of the plan",
        lines: rule ? [{ words: rule.text, muted: true }] : [] };
    }
    return { kind: "outside", culprit: false, node, hue: 7, look: node, head: "the outside",
      lines: [{ words: "network, terminal, other programs", muted: true }] };
  }

  // Three that look alike are one box; of the dead, or where there are many boxes, two are.
  function merge(model, wanted) {
    const looks = new Map();
    for (const node of wanted) {
      const box = boxOf(model, node);
      looks.set(box.look, [...(looks.get(box.look) || []), box]);
    }
    const fewest = wanted.size > ALONE_UP_TO ? 2 : 3;
    const boxes = [];
    for (const alike of looks.values()) {
      if (alike.length >= (alike[0].kind === "dead" ? 2 : fewest)) boxes.push(Object.assign(alike[0], { members: alike }));
      else for (const box of alike) boxes.push(Object.assign(box, { members: [box] }));
    }
    for (const box of boxes.filter((b) => b.process)) {
      const family = model.family(box.process), processes = new Set(box.members.map((m) => m.process));
      box.cluster = processes.size > 1 ? "g" + family : "p" + box.process.pid;
      box.clusterName = processes.size > 1 ? family + " · " + processes.size + " processes" : model.who(box.process) + " · pid " + box.process.pid;
    }
    return boxes;
  }

  // What is waited for, with everyone who waits for it and everyone who could end that. The objects of a box that nobody
  // else waits for count as one: alike threads have alike objects of their own.
  function gatherObjects(model, edges, byNode) {
    const waiters = new Map();
    const keyOf = (e) => {
      const object = model.threads.get(e.from).wait.object;
      return object ? object.key : "of " + e.from;
    };
    for (const e of edges) {
      if (!byNode.has(e.from) || !byNode.has(e.to)) continue;
      if (!waiters.has(keyOf(e))) waiters.set(keyOf(e), new Set());
      waiters.get(keyOf(e)).add(byNode.get(e.from));
    }
    const objects = new Map();
    for (const e of edges) {
      const from = byNode.get(e.from), to = byNode.get(e.to);
      if (!from || !to) continue;
      const key = waiters.get(keyOf(e)).size > 1 ? keyOf(e) : "of " + from.node;
      if (!objects.has(key)) objects.set(key, { waiters: new Set(), wakers: new Map(), about: e.object, keys: new Set(), all: false, full: false });
      const object = objects.get(key);
      object.keys.add(keyOf(e));
      object.waiters.add(from);
      object.all = object.all || e.need === "all";
      object.full = object.full || Boolean(model.threads.get(e.from).wait.object && model.threads.get(e.from).wait.object.full);
      if (!object.wakers.has(to)) object.wakers.set(to, new Set());
      if (e.why) object.wakers.get(to).add(e.why);
    }
    return objects;
  }

  // Between few: an arrow for each pair, that says what it is about. Between many: the object becomes a box, and there
  // are as many arrows as parties instead of one for each pair.
  function connect(objects) {
    const boxes = [], links = [];
    let n = 0;
    for (const object of objects.values()) {
      const about = object.about + (object.keys.size > 1 ? ", and " + (object.keys.size - 1) + " alike" : "");
      const whys = new Set([...object.wakers.values()].map((w) => [...w].join(", ")));
      if (object.wakers.size < 2 || object.waiters.size + object.wakers.size < 4) {
        for (const from of object.waiters)
          for (const [to, why] of object.wakers)
            links.push({ from, to, why: [...why].join(", ") || "could end the wait", about });
        continue;
      }
      const one = object.all ? "all of these have to act" : "one of these would do";
      const box = { kind: "object", node: "object " + n++, hue: 7, members: [{}], head: about || "a wait", full: object.full,
        lines: [{ words: one + (whys.size === 1 && [...whys][0] ? ": " + [...whys][0] : ""), muted: true }] };
      boxes.push(box);
      for (const from of object.waiters) links.push({ from, to: box, why: "", about: "" });
      for (const [to, why] of object.wakers) links.push({ from: box, to, why: whys.size === 1 ? "" : [...why].join(", "), about: "" });
    }
    return { boxes, links };
  }

  // A dead culprit that nothing leads to: what it could have ended is not known, only that it could.
  function connectDead(model, boxes, byNode, links) {
    for (const verdict of model.report.verdicts) {
      const first = verdict.victims.map((v) => byNode.get(v.node)).find((b) => b);
      for (const culprit of verdict.culprits) {
        const box = byNode.get(culprit.node);
        if (first && box && box.kind === "dead" && !links.some((l) => l.to === box))
          links.push({ from: first, to: box, why: "could have acted", about: "" });
      }
    }
  }

  function build(model) {
    const { wanted, edges } = parties(model);
    const all = merge(model, wanted);
    const boxes = all.slice(0, MOST_NODES), byNode = new Map();
    for (const box of boxes) for (const member of box.members) byNode.set(member.node, box);
    const made = connect(gatherObjects(model, edges, byNode));
    connectDead(model, boxes, byNode, made.links);
    return { boxes: [...boxes, ...made.boxes], links: made.links, left: all.length - boxes.length };
  }

  // Tarjan's components: an edge inside one is part of a circle.
  function markCircles(graph) {
    let next = 0;
    const stack = [];
    const out = new Map(graph.boxes.map((b) => [b, []]));
    for (const l of graph.links) out.get(l.from).push(l.to);
    function visit(box) {
      box.index = box.low = next++;
      stack.push(box);
      box.onStack = true;
      for (const to of out.get(box)) {
        if (to.index === undefined) {
          visit(to);
          box.low = Math.min(box.low, to.low);
        } else if (to.onStack) box.low = Math.min(box.low, to.index);
      }
      if (box.low !== box.index) return;
      for (let member; member !== box; ) {
        member = stack.pop();
        member.onStack = false;
        member.circle = box.index;
      }
    }
    for (const box of graph.boxes) if (box.index === undefined) visit(box);
    for (const l of graph.links) l.closed = l.from.circle === l.to.circle;
  }

  const pen = document.createElement("canvas").getContext("2d");
  function measure(words, font) {
    pen.font = font;
    return Math.ceil(pen.measureText(words).width);
  }
  const SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", sans-serif';
  const MONO = 'ui-monospace, "SF Mono", "Cascadia Mono", "Liberation Mono", "DejaVu Sans Mono", monospace';

  function sizeBox(box) {
    const n = box.members.length;
    const names = new Set(box.members.map((m) => m.head));
    const many = box.kind === "dead" ? box.family + "  × " + n : names.size > 1 ? n + " threads: " + [...names].join(", ") : box.head + "  × " + n;
    const most = box.kind === "object" ? 2 * LABEL : NODE;
    box.shownHead = cut(n > 1 ? many : box.head, most);
    box.shown = box.lines.map((l) => ({ ...l, words: cut(l.words, most + 12) }));
    const widths = [measure(box.shownHead, "650 13px " + SANS) + (box.culprit ? 52 : 0),
      ...box.shown.map((l) => measure(l.words, l.code ? "12px " + MONO : "12px " + SANS))];
    box.width = Math.max(120, ...widths) + 34;
    box.height = 22 + 18 * (1 + box.shown.length);
  }

  function sizeLink(link) {
    link.label = [link.why && cut(link.why, LABEL + 6), link.about && cut(link.about, LABEL + 10)].filter(Boolean);
    link.width = Math.max(0, ...link.label.map((w) => measure(w, "12px " + SANS) + 14));
    link.height = link.label.length ? 17 * link.label.length + 4 : 0;
  }

  function layout(graph) {
    const g = new dagre.graphlib.Graph({ compound: true, multigraph: true });
    g.setGraph({ rankdir: "TB", nodesep: 34, ranksep: 42, edgesep: 22, marginx: 24, marginy: 30 });
    graph.boxes.forEach((box, i) => {
      sizeBox(box);
      box.id = "n" + i;
      g.setNode(box.id, { width: box.width, height: box.height });
    });
    const clusters = new Map();
    for (const box of graph.boxes.filter((b) => b.cluster)) {
      if (!clusters.has(box.cluster)) {
        clusters.set(box.cluster, { name: box.clusterName, hue: box.hue });
        g.setNode(box.cluster, {});
      }
      g.setParent(box.id, box.cluster);
    }
    graph.links.forEach((link, i) => {
      sizeLink(link);
      link.id = { v: link.from.id, w: link.to.id, name: "e" + i };
      g.setEdge(link.id, { width: link.width, height: link.height, labelpos: "c" });
    });
    dagre.layout(g);
    return { g, clusters };
  }

  function path(points) {
    if (points.length < 3) return "M" + points.map((p) => p.x + " " + p.y).join("L");
    // Through the middles of the segments, with the given points as handles.
    let d = "M" + points[0].x + " " + points[0].y;
    for (let i = 1; i < points.length - 1; i++) {
      const end = i === points.length - 2 ? points[i + 1]
        : { x: (points[i].x + points[i + 1].x) / 2, y: (points[i].y + points[i + 1].y) / 2 };
      d += "Q" + points[i].x + " " + points[i].y + " " + end.x + " " + end.y;
    }
    return d;
  }

  function drawBox(box, at) {
    const x = at.x - box.width / 2, y = at.y - box.height / 2;
    const group = svg("g", { class: ["node", box.kind, "hue" + box.hue, box.culprit ? "culprit" : "", box.live ? "live" : "", box.full ? "full" : ""].join(" ") });
    if (box.kind === "outside")
      group.append(svg("ellipse", { class: "box", cx: at.x, cy: at.y, rx: box.width / 2, ry: box.height / 2 + 4 }));
    else
      group.append(svg("rect", { class: "box", x, y, width: box.width, height: box.height, rx: box.kind === "object" ? 16 : 7 }));
    if (box.kind === "thread") group.append(svg("rect", { class: "bar", x: x + 6, y: y + 8, width: 4, height: box.height - 16, rx: 2 }));
    const middle = box.kind === "outside" || box.kind === "object";
    const left = middle ? at.x : x + 18;
    const anchor = middle ? { "text-anchor": "middle" } : {};
    group.append(text(box.shownHead, { x: left, y: y + 23, class: "t0", ...anchor }));
    if (box.culprit) group.append(text("cause", { x: x + box.width - 12, y: y + 22, class: "tag", "text-anchor": "end" }));
    box.shown.forEach((l, i) =>
      group.append(text(l.words, { x: left, y: y + 23 + 18 * (i + 1), class: "t2" + (l.code ? " code" : ""), ...anchor })));
    const title = svg("title");
    title.textContent = [box.head, ...box.lines.map((l) => l.words), ...(box.members.length > 1 ? box.members.map((m) => m.head) : [])].join("\n");
    group.prepend(title);
    if (box.kind !== "thread") return group;
    const link = svg("a", { href: "#" + box.node });
    link.append(group);
    return link;
  }

  // From a box back to itself: out at its right side, behind the label, and in again.
  function loop(box, label) {
    const x = box.x + box.width / 2, far = label.x + (label.x - x) / 3;
    return "M" + x + " " + (box.y - 8) + "C" + far + " " + (box.y - 44) + " " + far + " " + (box.y + 44) + " " + x + " " + (box.y + 8);
  }

  function drawLink(link, at, from) {
    const group = svg("g", { class: ["edge", link.closed ? "closed" : "", link.to.kind === "dead" ? "to-dead" : ""].join(" ") });
    const title = svg("title");
    title.textContent = [link.from.head + " → " + link.to.head, link.why, link.about].filter(Boolean).join("\n");
    group.append(title, svg("path", { d: link.from === link.to ? loop(from, at) : path(at.points), "marker-end": link.closed ? "url(#arrow-closed)" : "url(#arrow)" }));
    return group;
  }

  // Labels lie above all lines.
  function drawLabel(link, at) {
    if (!link.label.length) return "";
    const group = svg("g", { class: "edge label" });
    group.append(svg("rect", { class: "plate", x: at.x - link.width / 2, y: at.y - link.height / 2, width: link.width, height: link.height, rx: 4 }));
    link.label.forEach((words, i) =>
      group.append(text(words, { x: at.x, y: at.y - link.height / 2 + 15 + 17 * i, class: i || !link.why ? "about" : "why" })));
    return group;
  }

  function arrow(id, name) {
    return svg("marker", { id, viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto" },
      svg("path", { d: "M0 0L10 5L0 10z", class: name }));
  }

  // Around the members and what lies between them. dagre keeps a wider place free, so nothing else is in there.
  function placeCluster(id, cluster, graph, g) {
    const inside = graph.boxes.filter((b) => b.cluster === id).map((b) => ({ ...g.node(b.id), width: b.width, height: b.height }));
    for (const l of graph.links)
      if (l.from.cluster === id && l.to.cluster === id) inside.push({ ...g.edge(l.id), width: l.width, height: l.height });
    const title = cut(cluster.name, 60);
    const x = Math.min(...inside.map((i) => i.x - i.width / 2)) - 14, y = Math.min(...inside.map((i) => i.y - i.height / 2)) - 28;
    const right = Math.max(...inside.map((i) => i.x + i.width / 2)) + 14, bottom = Math.max(...inside.map((i) => i.y + i.height / 2)) + 14;
    return { title, hue: cluster.hue, x, y, width: Math.max(right - x, measure(title, "650 12.5px " + SANS) + 26), height: bottom - y };
  }

  function drawCluster({ title, hue, x, y, width, height }) {
    return svg("g", { class: "cluster hue" + hue }, svg("rect", { x, y, width, height, rx: 9 }), text(title, { x: x + 12, y: y + 18 }));
  }

  // What is drawn, with a margin: dagre's own figure has room for clusters that are drawn smaller.
  function extent(graph, g, places) {
    const xs = [], ys = [];
    const take = (at, width, height) => {
      xs.push(at.x - width / 2, at.x + width / 2);
      ys.push(at.y - height / 2, at.y + height / 2);
    };
    for (const box of graph.boxes) take(g.node(box.id), box.width, box.height + 8);
    for (const c of places) take({ x: c.x + c.width / 2, y: c.y + c.height / 2 }, c.width, c.height);
    for (const link of graph.links) {
      const at = g.edge(link.id);
      for (const point of at.points) take(point, 4, 4);
      if (link.label.length) take(at, link.width, link.height);
    }
    const x = Math.min(...xs) - 12, y = Math.min(...ys) - 6;
    return { x, y, width: Math.max(...xs) + 12 - x, height: Math.max(...ys) + 10 - y };
  }

  // The picture for a place `room` pixels wide, or null when there is nothing to draw.
  function draw(model, room) {
    const graph = build(model);
    if (graph.boxes.length === 0) return null;
    markCircles(graph);
    const { g, clusters } = layout(graph);
    const places = [...clusters].map(([id, cluster]) => placeCluster(id, cluster, graph, g));
    const view = extent(graph, g, places);
    const scale = Math.max(SMALLEST, Math.min(1, room / view.width));
    const picture = svg("svg", { viewBox: [view.x, view.y, view.width, view.height].join(" "),
      width: Math.ceil(view.width * scale), height: Math.ceil(view.height * scale), role: "img", "aria-label": "Who waits for whom. The same follows as a list." });
    picture.append(svg("defs", {}, arrow("arrow", "arrow"), arrow("arrow-closed", "arrow closed")));
    picture.append(...places.map(drawCluster));
    for (const link of graph.links) picture.append(drawLink(link, g.edge(link.id), g.node(link.from.id)));
    for (const box of graph.boxes) picture.append(drawBox(box, g.node(box.id)));
    for (const link of graph.links) picture.append(drawLabel(link, g.edge(link.id)));
    return { picture, left: graph.left, circles: graph.links.some((l) => l.closed), kinds: new Set(graph.boxes.map((b) => b.kind)),
      live: graph.boxes.some((b) => b.live), culprits: graph.boxes.some((b) => b.culprit) };
  }

  return { draw, svg };
})();
