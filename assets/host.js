"use strict";
/* The Host tab: everyone's runs on one wall, the queue, the machine, the limits, and what only the host may do. */
(() => {
  const pg = window.playground, { h, number, compact, duration, svg } = pg;
  const REFRESH_MS = 1500;
  const GOING = ["starting", "running"];

  pg.kinds.host = (root, { trigger }) => {
    const act = (what, more = {}) => trigger("act", { do: what, ...more });
    const sure = (words, what, more) => window.confirm(words) && act(what, more);
    const button = (text, press, id = null) => h("button", { type: "button", class: "pg-button", onclick: press, ...(id ? { id } : {}) }, text);
    const facts = h("dl", { class: "pg-facts" }), fact = (label) => { const value = h("dd", {}, "–"); facts.append(h("div", {}, h("dt", {}, label), value)); return value; };
    const parts = { training: fact("training now"), waiting: fact("waiting"), pages: fact("pages open"), load: fact("machine load, of its cores"), memory: fact("memory free"), disk: fact("disk used, and left") };
    const tools = h("div", { class: "pg-tools" }, button("Pause all", () => sure("Pause everything that trains or waits? Each run saves a checkpoint.", "pause_all"), "host-pause-all"), button("Resume all", () => act("resume_all"), "host-resume-all"), button("Clear what is idle", () => sure("Pause every run that no page has looked at for a minute?", "clear_idle"), "host-clear-idle"), button("All results (CSV)", () => results.click(), "host-results"));
    const results = pg.download("live/host/results.csv", { hidden: true }, "", true);
    const wall = h("div", { class: "pg-wall" }), empty = h("p", { class: "pg-empty" }, "Nobody has trained anything yet. Give out the address of the room.");
    const room = h("div", { class: "pg-room" }), limits = h("form", { class: "pg-limits" }), problem = h("p", { class: "pg-reason", role: "alert" });
    root.append(
      pg.head("The room", "Everyone's runs: what trains first, then what waits, then what has ended. Curves share their vertical axis, so the lowest is the best; thin: training, thick: held out.", tools, results), facts, problem, empty, wall,
      h("div", { class: "pg-host-grid" }, h("section", {}, pg.head("The address of the room", "For everybody: whoever opens it gets a page of their own, and never this tab."), room), h("section", {}, pg.head("Limits", "They hold at once, for whatever starts from now on; time limits also for what trains already. Empty: no limit."), limits)));

    /* Cards are kept and only what they show changes, so that nothing jumps under the pointer. */
    const cards = new Map();
    function card(run) {
      let made = cards.get(run.id);
      if (!made) {
        const name = h("strong"), by = h("span", { class: "pg-faint" }), state = h("span", { class: "pg-state" }), dot = h("span", { class: "pg-dot" }), figure = h("span", { class: "pg-now" });
        const canvas = h("canvas", { role: "img" });
        const buttons = { pause: button("Pause", () => act("pause", { run: run.id })), resume: button("Resume", () => act("resume", { run: run.id })), stop: button("Stop", () => act("stop", { run: run.id })), remove: button("Remove", () => sure(`Remove “${name.textContent}” with all its checkpoints? This cannot be undone.`, "remove", { run: run.id })) };
        const box = h("article", { class: "pg-card", "data-run": run.id }, h("div", { class: "pg-card-head" }, dot, name, by), canvas, h("div", { class: "pg-card-line" }, state, figure), h("div", { class: "pg-tools" }, button("Open", () => act("open", { run: run.id })), ...Object.values(buttons)));
        cards.set(run.id, (made = { box, name, by, state, figure, canvas, buttons, painted: "" }));
      }
      return made;
    }

    function paint(made, run, low, high) {
      const canvas = made.canvas, wide = canvas.clientWidth, tall = canvas.clientHeight, scale = window.devicePixelRatio || 1;
      const key = [wide, tall, low, high, run.train.length, run.val.length, run.step, run.generation, document.body.className].join();
      if (!wide || key === made.painted) return;
      made.painted = key;
      canvas.width = wide * scale;
      canvas.height = tall * scale;
      const pen = canvas.getContext("2d"), last = Math.max(1, run.max_steps || 0, run.train.at(-1)?.[0] || 0);
      pen.scale(scale, scale);
      const x = (step) => 34 + (step / last) * (wide - 40), y = (loss) => 6 + (1 - (loss - low) / (high - low || 1)) * (tall - 12);
      pen.font = "11px system-ui, sans-serif";
      pen.fillStyle = pg.css("--body-text-color-subdued");
      pen.textAlign = "right";
      for (const [loss, base] of [[high, "top"], [low, "bottom"]]) { pen.textBaseline = base; pen.fillText(number(loss, 1), 29, base === "top" ? 2 : tall - 2); }
      pen.strokeStyle = pg.css("--border-color-primary");
      pen.strokeRect(33.5, 3.5, wide - 38, tall - 7);
      for (const [points, colour, width] of [[run.train, pg.css("--pg-train"), 1], [run.val, "#D55E00", 2.4]]) {
        pen.strokeStyle = colour;
        pen.lineWidth = width;
        pen.beginPath();
        points.forEach(([step, loss], i) => loss !== null && (i ? pen.lineTo(x(step), y(loss)) : pen.moveTo(x(step), y(loss))));
        pen.stroke();
      }
    }

    function draw(seen) {
      const { runs, machine } = seen, losses = runs.flatMap((run) => [...run.train, ...run.val].map(([, loss]) => loss)).filter((loss) => loss !== null && loss < 50);
      const low = Math.floor(Math.min(...losses, Infinity) * 10) / 10, high = Math.ceil(Math.max(...losses, -Infinity) * 10) / 10;
      const training = runs.filter((run) => GOING.includes(run.state)).length, waiting = runs.filter((run) => run.state === "queued").length;
      parts.training.textContent = `${number(training)} of ${number(seen.places)}`;
      parts.waiting.textContent = number(waiting);
      parts.pages.textContent = number(machine.pages);
      parts.load.textContent = `${number((100 * machine.load) / machine.cores)}% of ${number(machine.cores)}`;
      parts.memory.textContent = machine.memory ? `${compact(machine.memory.available)}B of ${compact(machine.memory.total)}B` : "–";
      parts.disk.textContent = `${compact(machine.disk_bytes)}B, ${compact(machine.free_bytes)}B`;
      empty.hidden = runs.length > 0;
      for (const id of cards.keys()) if (!runs.some((run) => run.id === id)) cards.delete(id);
      const wanted = runs.map((run) => {
        const made = card(run), set = (element, text) => element.textContent !== text && (element.textContent = text);
        set(made.name, run.name);
        set(made.by, [run.by ? `by ${run.by}` : "", run.private ? "private" : ""].filter(Boolean).join(", "));
        set(made.state, run.state === "queued" && typeof run.starts_in_s === "number" ? `${pg.stateText(run)}, in about ${duration(run.starts_in_s)}` : `${pg.stateText(run)}, step ${number(run.step)}${run.max_steps ? ` of ${number(run.max_steps)}` : ""}`);
        const loss = run.final_val_loss ?? run.val_loss;
        set(made.figure, loss === null ? "" : `${number(loss, 3)} nats per token`);
        made.canvas.setAttribute("aria-label", `losses of ${run.name}, now ${number(loss, 3)} nats per token held out`);
        made.box.dataset.state = run.state;
        made.box.title = run.reason || "";
        const going = GOING.includes(run.state), queued = run.state === "queued";
        made.buttons.pause.hidden = !going && !queued;
        made.buttons.stop.hidden = !going && !queued && run.state !== "paused";
        made.buttons.resume.hidden = !["paused", "stopped", "interrupted", "failed"].includes(run.state);
        made.buttons.remove.hidden = going;
        return made.box;
      });
      if (wanted.some((box, i) => wall.children[i] !== box) || wall.children.length !== wanted.length) wall.replaceChildren(...wanted);
      runs.forEach((run) => paint(cards.get(run.id), run, low, high));
      drawRoom(seen);
      drawLimits(seen.limits);
    }

    let address = null;
    function drawRoom({ link, code }) {
      if (link === address) return;
      address = link;
      const local = /^https?:\/\/(127\.|localhost|\[::1\])/.test(link), n = code.length;
      const cells = code.flatMap((row, y) => [...row].map((bit, x) => (bit === "1" ? `M${x} ${y}h1v1h-1z` : ""))).join("");
      const copy = button("Copy", async () => { try { await navigator.clipboard.writeText(link); copy.textContent = "Copied"; } catch { window.prompt("Copy this address:", link); } });
      const picture = svg("svg", { viewBox: `-2 -2 ${n + 4} ${n + 4}`, class: "pg-qr", role: "img", "aria-label": `QR code of ${link}` });
      picture.append(svg("rect", { x: -2, y: -2, width: n + 4, height: n + 4, fill: "#fff" }), svg("path", { d: cells, fill: "#000" }));
      room.replaceChildren(picture,
        h("div", {}, h("p", { class: "pg-room-address" }, link), copy, ...(local ? [h("p", { class: "pg-faint" }, "Only this machine can open it. To let others in, start the page with GRADIO_SERVER_NAME=0.0.0.0.")] : [])));
    }

    /* What is being typed is left alone until it is set. */
    let shown = "";
    function drawLimits(all) {
      const now = JSON.stringify(all);
      if (now === shown || limits.contains(document.activeElement)) return;
      shown = now;
      const fields = all.map((limit) => {
        const input = h("input", { type: "text", inputmode: "numeric", id: `limit-${limit.name}`, value: limit.value === null ? "" : number(limit.value), placeholder: limit.optional ? "no limit" : "" });
        return { limit, input, row: h("label", { for: input.id, title: limit.help }, h("span", {}, limit.label, h("small", { class: "pg-faint" }, new RegExp(`\\b${limit.unit}\\b`).test(limit.label) ? "" : `, ${limit.unit}`)), input) };
      });
      const changed = () => Object.fromEntries(fields.filter(({ limit, input }) => input.value.replace(/[\s,]/g, "") !== (limit.value === null ? "" : String(limit.value))).map(({ limit, input }) => [limit.name, input.value.replace(/[\s,]/g, "")]));
      limits.onsubmit = (event) => {
        event.preventDefault();
        document.activeElement.blur();
        act("limits", { limits: changed() });
      };
      limits.replaceChildren(...fields.map(({ row }) => row), h("button", { class: "pg-button", id: "host-set-limits" }, "Set these limits"));
    }

    let timer = 0;
    async function refresh() {
      clearTimeout(timer);
      if (pg.visible(root)) {
        try {
          draw(await pg.get(`live/host?address=${encodeURIComponent(pg.address(".").href.split("?")[0])}`));
          problem.textContent = "";
        } catch (error) {
          problem.textContent = error.status === 403 ? "You are not the host any more. Open the page by the host's link again." : "The playground does not answer; trying again.";
        }
      }
      timer = setTimeout(refresh, REFRESH_MS);
    }
    refresh();
    new IntersectionObserver(refresh).observe(root);
    pg.onTheme.push(() => cards.forEach((made) => (made.painted = "")));
  };
})();
