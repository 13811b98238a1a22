"""The roofline: what phases and operators reach, against the machine's SGEMM and memory."""


def draw(results, names, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    shown = [n for n in names if f"roofline/{n}" in results]
    figure, axes = pyplot.subplots(len(shown), 2, figsize=(12, 4.6 * len(shown)), squeeze=False, layout="constrained")
    for row, name in zip(axes, shown):
        for axis, (threads, r) in zip(row, sorted(results[f"roofline/{name}"].items())):
            draw_one(axis, f"{name}, {threads} thread{'s' if threads != '1' else ''}", r)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def draw_one(axis, title, r):
    peak, bandwidth = r["peak"]["gflops"], r["peak"]["gbytes_per_second"]
    low, high = 0.5, 1000
    axis.plot([low, peak / bandwidth, high], [low * bandwidth, peak, peak], color="0.3", lw=1.5)
    axis.annotate(f"SGEMM {peak:.0f} GFLOP/s", (high, peak), ha="right", va="bottom", fontsize=8)
    axis.annotate(f"memory {bandwidth:.0f} GB/s", (low * 1.2, low * 1.2 * bandwidth), va="bottom", fontsize=8,
                  rotation=40, rotation_mode="anchor")
    for phase, color, marker in (("forward", "tab:blue", "o"), ("backward", "tab:red", "s")):
        whole = [p for p in r["profile"]["phases"] if p["phase"] == phase]
        rows = [o for o in r["profile"]["operators"] if o["phase"] == phase and o["gflop"] > 0]
        seconds = whole[0]["seconds"]
        for x in whole + rows:
            is_whole = "operator" not in x
            if not is_whole and x["seconds"] < 0.01 * seconds:
                continue
            at = (1e9 * x["gflop"] / x["bytes"], x["gflop"] / x["seconds"])
            label = f"{phase}, {100 * at[1] / peak:.0f} % of SGEMM" if is_whole else None
            axis.plot(*at, marker, color=color, ms=11 if is_whole else 6, mfc=color if is_whole else "none", label=label)
            if not is_whole:
                axis.annotate(x["operator"], at, xytext=(5, -9), textcoords="offset points", fontsize=7, color=color)
    axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low * bandwidth / 2, peak * 2), title=title,
             xlabel="FLOP of products for each byte of operands", ylabel="GFLOP/s")
    axis.grid(True, which="major", color="0.9")
    axis.legend(loc="lower right", fontsize=8)
