# SPDX-License-Identifier: LGPL-2.1-or-later
#
# report.awk - the records of run-bench, one run a line of key=value pairs, as one table or as JSON.
#
# Usage: awk -v format=table|json [-v machine=TEXT] -f report.awk RECORDS
#
# A row of the table is one side of one pattern: the median of its runs, column by column. The
# zram row is that page-cluster with which the same work took less time. Plain POSIX awk.

function median(group, key,	n, i, j, t, a) {
	n = 0
	for (i = 1; i <= runs[group]; i++)
		if ((group, i, key) in value)
			a[++n] = value[group, i, key] + 0
	for (i = 2; i <= n; i++) {
		t = a[i]
		for (j = i; j > 1 && a[j - 1] > t; j--)
			a[j] = a[j - 1]
		a[j] = t
	}
	if (!n)
		return 0
	return n % 2 ? a[(n + 1) / 2] : (a[n / 2] + a[n / 2 + 1]) / 2
}

function any(group, key,	i) {
	for (i = 1; i <= runs[group]; i++)
		if (value[group, i, key] + 0)
			return 1
	return 0
}

function mib(bytes) {
	return bytes ? sprintf("%.0fM", bytes / 1048576) : "-"
}

function us(ns) {
	return ns ? sprintf("%.1f", ns / 1000) : "-"
}

function speed(group, pattern,	s) {
	if (pattern == "seqread" || pattern == "seqwrite" || pattern == "sort") {
		s = median(group, "bytes_per_s")
		return sprintf("%.3f GB/s", s / 1e9)
	}
	s = median(group, "ops_per_s")
	return s ? sprintf("%.1f k/s", s / 1000) : "-"
}

# Both sides did the same work: the time decides, and means of per-operation times agree with it.
function zram_best(pattern,	a, b) {
	a = "zram " pattern " 0"
	b = "zram " pattern " 3"
	if (!(a in runs))
		return (b in runs) ? b : ""
	if (!(b in runs))
		return a
	return median(a, "seconds") <= median(b, "seconds") ? a : b
}

function over(a, b) {
	return b ? a / b : 0
}

# check(pattern, what, ratio, "<=" or ">=", bound): one line of verdict, kept for both formats.
function check(pattern, what, ratio, relation, bound) {
	n_checks++
	check_pattern[n_checks] = pattern
	check_what[n_checks] = what
	check_ratio[n_checks] = ratio
	check_target[n_checks] = (bound == "" ? "" : relation " " bound)
	if (!ratio || bound == "")
		check_met[n_checks] = "-"
	else if (relation == ">=")
		check_met[n_checks] = ratio >= bound ? "met" : "MISSED"
	else
		check_met[n_checks] = ratio <= bound ? "met" : "MISSED"
}

function faster(pattern, bound,	z, f) {
	z = zram_best(pattern)
	f = "faultline " pattern
	if (z == "" || !(f in runs))
		return
	check(pattern, "speed, faultline / zram", over(median(z, "seconds"), median(f, "seconds")),
	      ">=", bound)
	if (pattern == "random")
		check(pattern, "p99, faultline / zram",
		      over(median(f, "p99_ns"), median(z, "p99_ns")), "<=", "0.100")
}

function check_roundtrip(	b, f) {
	b = "bare roundtrip lz4 same"
	f = "faultline roundtrip"
	if (!(b in runs) || !(f in runs))
		return
	check("roundtrip", "p50, faultline / bare lz4 same",
	      over(median(f, "p50_ns"), median(b, "p50_ns")), "<=", "1.300")
	check("roundtrip", "mean, faultline / bare lz4 same",
	      over(median(f, "mean_ns"), median(b, "mean_ns")), "<=", "")
}

function check_under(	a, f) {
	a = "alone under"
	f = "faultline under"
	if (!(a in runs) || !(f in runs))
		return
	check("under", "time, faultline / alone",
	      over(median(a, "ops_per_s"), median(f, "ops_per_s")), "<=", "1.020")
	check("under", "time to fill, faultline / alone",
	      over(median(a, "fill_bytes_per_s"), median(f, "fill_bytes_per_s")), "<=", "")
}

function checks() {
	check_roundtrip()
	faster("seqread", "2.000")
	faster("seqwrite", "1.700")
	faster("random", "1.000")
	faster("zipf", "1.100")
	faster("sort", "")
	faster("join", "0.900")
	check_under()
}

function row(group, pattern, side, resident, compressed,	d, t, note) {
	d = median(group, "data")
	t = median(group, "total")
	note = any(group, "noisy") ? " noisy" : ""
	if (side ~ /^zram/ && t > d * 2 / 3 * 1.005)
		note = note " over-2/3"
	printf "%-10s %-17s %4d %6s %8s %8s %6s %12s %8s %8s %8s %8s %5.1f %7.1f %s%s\n",
		pattern, side, runs[group], mib(d), mib(resident), mib(compressed), mib(t),
		speed(group, pattern), us(median(group, "mean_ns")), us(median(group, "p50_ns")),
		us(median(group, "p99_ns")), us(median(group, "p999_ns")),
		median(group, "steal"), median(group, "foreign"), value[group, 1, "cpus"], note
}

function row_of(group,	w, n, best) {
	n = split(group, w, " ")
	if (w[1] == "zram") {
		best = zram_best(w[2])
		row(group, w[2], "zram, cluster " w[3] (group == best ? " *" : ""),
		    median(group, "peak"), median(group, "zram_peak"))
	} else if (w[1] == "bare") {
		row(group, w[2], "bare " w[3] " " w[4], 0, 0)
	} else {
		row(group, w[2], w[1], median(group, "anon"), median(group, "shmem"))
	}
}

function table(	i) {
	printf "%-10s %-17s %4s %6s %8s %8s %6s %12s %8s %8s %8s %8s %5s %7s %s\n", "pattern",
		"side", "runs", "data", "resident", "compr.", "total", "speed", "mean us", "p50",
		"p99", "p99.9", "steal", "foreign", "CPUs"
	for (i = 1; i <= n_groups; i++)
		row_of(groups[i])
	if (n_checks)
		printf "\n%-10s %-34s %8s %10s\n", "pattern", "ratio", "measured", "target"
	for (i = 1; i <= n_checks; i++)
		printf "%-10s %-34s %8.3f %10s %s\n", check_pattern[i], check_what[i],
			check_ratio[i], (check_target[i] == "" ? "-" : check_target[i]), check_met[i]
}

function quote(text) {
	gsub(/["\\]/, "", text)
	return "\"" text "\""
}

function scalar(text) {
	return text ~ /^-?[0-9]+(\.[0-9]+)?$/ ? text : quote(text)
}

function json(	i, j, n, kv, f) {
	printf "{\n  \"machine\": %s,\n  \"runs\": [\n", quote(machine)
	for (i = 1; i <= NR; i++) {
		n = split(lines[i], f, " ")
		printf "    {"
		for (j = 1; j <= n; j++) {
			split(f[j], kv, "=")
			printf "%s%s: %s", (j > 1 ? ", " : ""), quote(kv[1]), scalar(kv[2])
		}
		printf "}%s\n", (i < NR ? "," : "")
	}
	printf "  ],\n  \"checks\": [\n"
	for (i = 1; i <= n_checks; i++)
		printf "    {\"pattern\": %s, \"what\": %s, \"ratio\": %.4f, \"target\": %s, \"result\": %s}%s\n",
			quote(check_pattern[i]), quote(check_what[i]), check_ratio[i],
			quote(check_target[i]), quote(check_met[i]), (i < n_checks ? "," : "")
	printf "  ]\n}\n"
}

{
	lines[NR] = $0
	split("", v)
	for (i = 1; i <= NF; i++) {
		eq = index($i, "=")
		k = substr($i, 1, eq - 1)
		v[k] = substr($i, eq + 1)
	}
	group = v["side"] " " v["pattern"]
	if (v["side"] == "zram")
		group = group " " v["cluster"]
	if (v["side"] == "bare")
		group = group " " v["work"] " " v["place"]
	if (!(group in runs))
		groups[++n_groups] = group
	runs[group]++
	for (k in v)
		value[group, runs[group], k] = v[k]
}

END {
	checks()
	if (format == "json")
		json()
	else
		table()
}
