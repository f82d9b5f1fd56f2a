"""What was measured, as a table in Markdown and as a plot in SVG."""
import os
import statistics

COLOURS = {"floor": "#999999", "floor-verified": "#666666", "floor-verified-3": "#333333",
           "imapferry": "#1b7837", "imapferry-sample": "#7fbf7b", "imapferry-numbers": "#01665e",
           "imapferry-sample-numbers": "#80cdc1", "imapferry-told": "#35978f", "mbsync": "#b35806",
           "interimap": "#542788", "dsync": "#2166ac"}
TITLES = {"floor": "floor", "floor-verified": "floor with every byte read back",
          "floor-verified-3": "the same by three connections each", "imapferry": "imapferry, every byte read back", "imapferry-sample": "imapferry, one message in ten read back",
          "imapferry-numbers": "imapferry, every byte read back, UIDs kept",
          "imapferry-sample-numbers": "imapferry, one message in ten read back, UIDs kept",
          "imapferry-told": "imapferry, every byte read back, the target told all numbers (T0)",
          "mbsync": "mbsync", "interimap": "interimap", "dsync": "dsync (doveadm backup over imapc)"}

FLOORS = ("floor", "floor-verified", "floor-verified-3")


class Results:
    def __init__(self, description):
        self.description = description
        self.times = {}  # (set, trip, engine, phase) -> [Time]
        self.sets = {}

    def note_set(self, name, messages, size, mailboxes):
        self.sets[name] = f"{messages} messages, {size / 1e6:.0f} MB, {mailboxes} mailboxes"

    def add(self, name, trip, engine, phase, time):
        self.times.setdefault((name, trip, engine, phase), []).append(time)

    def median(self, *key):
        found = self.times.get(key)
        return statistics.median(t.seconds for t in found) if found else None

    def cpu(self, *key):
        """Of the tool, and of all processes."""
        found = self.times[key]
        return statistics.median(t.cpu for t in found), statistics.median(t.machine for t in found)

    def engines(self, name, trip):
        return [e for e in TITLES if (name, trip, e, "first") in self.times]

    def cells(self):
        return sorted({(name, trip) for name, trip, _, _ in self.times}, key=lambda x: (list(self.sets).index(x[0]), x[1]))

    # ---- the table

    def _row(self, name, trip, engine):
        first = self.median(name, trip, engine, "first")
        floors = [self.median(name, trip, floor, "first") for floor in FLOORS[:2]]
        spread = [t.seconds for t in self.times[name, trip, engine, "first"]]
        cells = [TITLES[engine], f"{first:.2f} ({min(spread):.2f} to {max(spread):.2f})",
                 *(f"{floor / first:.2f}" if floor else "" for floor in floors)]
        for phase in ("nothing", "changed"):
            took, other = self.median(name, trip, engine, phase), self.median(name, trip, "mbsync", phase)
            cells.append(f"{took:.2f}" if took is not None else "")
            cells.append(f"{took / other:.1f}" if took is not None and other else "")
        cpu, machine = self.cpu(name, trip, engine, "first")
        cells += [f"{cpu:.2f}" if cpu else "", f"{machine:.2f}"]
        notes = {t.note for p in ("first", "nothing", "changed") for t in self.times.get((name, trip, engine, p), []) if t.note}
        cells.append("; ".join(sorted(notes)) if engine not in FLOORS else "")
        return "| " + " | ".join(cells) + " |"

    def table(self, runs):
        d = self.description
        out = [f"Medians of {runs} runs, {d['when']}. {d['machine']}. {d['versions']}.",
               "", f"{d['way']} (below). First copy: seconds (least to most), and the time "
               "of each floor divided by them: what no copy can be below, and what none can that reads every byte back. Nothing changed and 1 % changed: seconds, and as a multiple of mbsync's. All CPU: CPU "
               "seconds of all processes for the first copy, the servers' too; of the first floor, for both its halves."]
        for name, trip in self.cells():
            out += ["", f"**{self.sets[name]}, round trip {trip} ms**", "",
                    "| engine | first copy, s | floor ÷ it | with read-back ÷ it | nothing changed, s | ÷ mbsync | 1 % changed, s | ÷ mbsync | its CPU, s | all CPU, s | |",
                    "|---|---|---|---|---|---|---|---|---|---|---|"]
            out += [self._row(name, trip, e) for e in self.engines(name, trip)]
            out += self._told(name, trip)
        return "\n".join(out) + "\n"

    def _told(self, name, trip):
        """What T0 costs beside the same copy to a target that is told nothing, run by run."""
        told, bare = (self.times.get((name, trip, e, "first"), []) for e in ("imapferry-told", "imapferry"))
        if not told or not bare:
            return []
        ratios = [a.seconds / b.seconds for a, b in zip(told, bare)]
        return ["", f"First copy at T0, as a multiple of that to a target that is told nothing: {statistics.median(ratios):.2f}, median of "
                f"{len(ratios)} pairs of runs ({min(ratios):.2f} to {max(ratios):.2f})."]

    # ---- the plot

    def plot(self):
        """For each cell a group of bars: the floor's time divided by the engine's."""
        cells = [c for c in self.cells() if self.median(*c, "floor", "first")]
        bar, gap, height, left, top = 22, 34, 260, 50, 70
        used = [e for e in TITLES if any(e in self.engines(*c) for c in cells) and e not in FLOORS]
        width = left + sum(len(used) * bar + gap for _ in cells) + 20
        most = max([1.0] + [self._ratio(c, e) for c in cells for e in used if e in self.engines(*c)])
        scale = height / (most * 1.05)
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{max(width, 640)}" height="{top + height + 60}" '
               'font-family="sans-serif" font-size="11">', '<rect width="100%" height="100%" fill="white"/>',
               '<text x="10" y="18" font-size="14">First copy: time of the floor ÷ time of the engine (1 = as fast as the servers)</text>']
        x = 10
        for e in used:
            out.append(f'<rect x="{x}" y="30" width="10" height="10" fill="{COLOURS[e]}"/><text x="{x + 14}" y="39">{TITLES[e]}</text>')
            x += 30 + 6 * len(TITLES[e])
        for tick in [x / 10 for x in range(0, int(most * 10) + 1, 2)]:
            y = top + height - tick * scale
            out.append(f'<line x1="{left}" x2="{width}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/><text x="{left - 6}" y="{y + 4:.1f}" '
                       f'text-anchor="end">{tick:.1f}</text>')
        x = left + gap / 2
        for cell in cells:
            out += self._bars(cell, used, x, top + height, bar, scale)
            x += len(used) * bar + gap
        return "\n".join(out + ["</svg>"]) + "\n"

    def _ratio(self, cell, engine):
        return self.median(*cell, "floor", "first") / self.median(*cell, engine, "first")

    def _bars(self, cell, used, x, bottom, bar, scale):
        name, trip = cell
        yield f'<text x="{x + len(used) * bar / 2}" y="{bottom + 16}" text-anchor="middle">{name}, {trip} ms</text>'
        yield f'<text x="{x + len(used) * bar / 2}" y="{bottom + 30}" text-anchor="middle">floor {self.median(*cell, "floor", "first"):.2f} s</text>'
        for n, e in enumerate(used):
            if e not in self.engines(*cell):
                continue
            ratio = self._ratio(cell, e)
            yield (f'<rect x="{x + n * bar}" y="{bottom - ratio * scale:.1f}" width="{bar - 3}" height="{ratio * scale:.1f}" '
                   f'fill="{COLOURS[e]}"/>')
            yield f'<text x="{x + n * bar + bar / 2 - 1}" y="{bottom - ratio * scale - 3:.1f}" text-anchor="middle" font-size="9">{ratio:.2f}</text>'

    def write(self, folder, runs):
        os.makedirs(folder, exist_ok=True)
        table = self.table(runs)
        conf = "".join(f"\n<details><summary>doveconf -n, {name}</summary>\n\n```\n{text}```\n</details>\n"
                       for name, text in self.description["conf"].items())
        for name, text in (("migrate.md", table + conf), ("migrate.svg", self.plot())):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                f.write(text)
        print(f"\n{table}{conf}\nwritten to {folder}/migrate.md and migrate.svg", flush=True)
