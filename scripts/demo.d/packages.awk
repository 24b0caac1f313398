# SPDX-License-Identifier: LGPL-2.1-or-later
#
# packages.awk - turn Debian's package index (stanzas, as apt-cache dumpavail prints them) into
# two tables: out/package, one record a stanza, and out/relation, one for each name that a
# package depends on, recommends, conflicts with, and so on. Fields end in US (\037), records in
# RS (\036): what sqlite3's ".import --ascii" reads.

function put(table, record)
{
	printf "%s\036", record > (out "/" table)
}

# "libc6 (>= 2.34), foo | bar:any" gives libc6 >=2.34, foo, bar
function put_relations(kind, list,	groups, n_groups, i, names, n_names, j, name, version)
{
	n_groups = split(list, groups, / *, */)
	for (i = 1; i <= n_groups; i++) {
		n_names = split(groups[i], names, / *[|] */)
		for (j = 1; j <= n_names; j++) {
			name = names[j]
			version = ""
			if (match(name, / *[(].*[)]/)) {
				version = substr(name, RSTART, RLENGTH)
				name = substr(name, 1, RSTART - 1)
				gsub(/[ ()]/, "", version)
			}
			sub(/:.*/, "", name)
			put("relation", field["Package"] "\037" kind "\037" name "\037" version)
		}
	}
}

function put_stanza(	kind)
{
	if (field["Package"] == "")
		return
	put("package", field["Package"] "\037" field["Version"] "\037" field["Section"] "\037" \
	    field["Installed-Size"] + 0 "\037" field["Size"] + 0 "\037" field["Maintainer"] "\037" \
	    field["Homepage"] "\037" field["SHA256"] "\037" field["Description"])
	for (kind = 1; kind <= n_kinds; kind++)
		if (field[kinds[kind]] != "")
			put_relations(kinds[kind], field[kinds[kind]])
	split("", field)
}

BEGIN {
	n_kinds = split("Depends Pre-Depends Recommends Suggests Enhances Conflicts Breaks " \
			"Replaces Provides", kinds, " ")
}

/^$/ {
	put_stanza()
	next
}

/^[^ ]/ {
	colon = index($0, ":")
	value = substr($0, colon + 1)
	sub(/^ */, "", value)
	field[substr($0, 1, colon - 1)] = value
}

END {
	put_stanza()
}
