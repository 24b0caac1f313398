-- SPDX-License-Identifier: LGPL-2.1-or-later
--
-- tables.sql - what the demo has sqlite3 do, all of it in memory: load the tables, build
-- indexes, sort, group and join. Reads package, relation, file, checksum and line in the current
-- directory (scripts/demo makes them). The order of every result is complete, so that two runs
-- print the same bytes.

PRAGMA temp_store = memory;

CREATE TABLE package (name TEXT, version TEXT, section TEXT, installed INTEGER, size INTEGER,
	maintainer TEXT, homepage TEXT, sha256 TEXT, summary TEXT);
CREATE TABLE relation (name TEXT, kind TEXT, target TEXT, version TEXT);
CREATE TABLE file (package TEXT, path TEXT);
CREATE TABLE checksum (package TEXT, md5 TEXT, path TEXT);
CREATE TABLE line (source INTEGER, number INTEGER, text TEXT);

.import --ascii package package
.import --ascii relation relation
.import --ascii file file
.import --ascii checksum checksum
.import --ascii line line

CREATE INDEX package_name ON package (name);
CREATE INDEX relation_name ON relation (name);
CREATE INDEX relation_target ON relation (target, kind);
CREATE INDEX file_path ON file (path);
CREATE INDEX checksum_md5 ON checksum (md5);
CREATE INDEX line_text ON line (text);

-- How much each section holds.
SELECT section, count(*), sum(size), sum(installed) FROM package GROUP BY section ORDER BY section;

-- What most packages name.
SELECT target, kind, count(*) AS n FROM relation GROUP BY target, kind
	ORDER BY n DESC, target, kind;

-- What the packages of a maintainer pull in.
SELECT a.maintainer, count(*), sum(b.size) AS pulled
	FROM package a JOIN relation r ON r.name = a.name JOIN package b ON b.name = r.target
	WHERE r.kind IN ('Depends', 'Pre-Depends')
	GROUP BY a.maintainer ORDER BY pulled DESC, a.maintainer;

-- Installed files that are the same.
SELECT md5, count(*) AS n, min(path), max(path) FROM checksum
	GROUP BY md5 HAVING n > 1 ORDER BY n DESC, md5;

-- Installed files with their checksums, by checksum.
SELECT c.md5, f.path FROM file f JOIN checksum c ON c.package = f.package AND '/' || c.path = f.path
	ORDER BY c.md5, f.path;

-- Lines that are there more than once.
SELECT count(*) AS n, min(source), max(source), text FROM line
	GROUP BY text HAVING n > 1 ORDER BY n DESC, text;
