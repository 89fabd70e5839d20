/** Which package of Debian and Ubuntu, or of PGDG's repository for them, holds an extension; `%` is the major. */
const PACKAGES: Readonly<Record<string, string>> = {
  age: "postgresql-%-age",
  citus: "postgresql-%-citus",
  h3: "postgresql-%-h3",
  hll: "postgresql-%-hll",
  hypopg: "postgresql-%-hypopg",
  ip4r: "postgresql-%-ip4r",
  mysql_fdw: "postgresql-%-mysql-fdw",
  orafce: "postgresql-%-orafce",
  pg_cron: "postgresql-%-cron",
  pg_hint_plan: "postgresql-%-pg-hint-plan",
  pg_partman: "postgresql-%-partman",
  pg_qualstats: "postgresql-%-pg-qualstats",
  pg_repack: "postgresql-%-repack",
  pg_squeeze: "postgresql-%-squeeze",
  pg_stat_kcache: "postgresql-%-pg-stat-kcache",
  pgaudit: "postgresql-%-pgaudit",
  pglogical: "postgresql-%-pglogical",
  pgrouting: "postgresql-%-pgrouting",
  pgtap: "postgresql-%-pgtap",
  plperl: "postgresql-plperl-%",
  plperlu: "postgresql-plperl-%",
  plpython3u: "postgresql-plpython3-%",
  pltcl: "postgresql-pltcl-%",
  pltclu: "postgresql-pltcl-%",
  postgis: "postgresql-%-postgis-3",
  postgis_raster: "postgresql-%-postgis-3",
  postgis_tiger_geocoder: "postgresql-%-postgis-3",
  postgis_topology: "postgresql-%-postgis-3",
  postgres_decoderbufs: "postgresql-%-decoderbufs",
  rum: "postgresql-%-rum",
  tds_fdw: "postgresql-%-tds-fdw",
  timescaledb: "timescaledb-2-postgresql-%",
  vector: "postgresql-%-pgvector",
};

/** Part of PostgreSQL's own contrib, which Debian's server package holds and RHEL keeps apart. */
const CONTRIB = new Set(
  `amcheck autoinc bloom btree_gin btree_gist citext cube dblink dict_int dict_xsyn earthdistance file_fdw fuzzystrmatch
   hstore insert_username intagg intarray isn lo ltree moddatetime old_snapshot pageinspect pg_buffercache
   pg_freespacemap pg_prewarm pg_stat_statements pg_surgery pg_trgm pg_visibility pg_walinspect pgcrypto pgrowlocks
   pgstattuple postgres_fdw refint seg sslinfo tablefunc tcn tsm_system_rows tsm_system_time unaccent uuid-ossp
   xml2`.split(/\s+/),
);

/** What to do about an extension that the scratch server lacks. */
export const WHERE_TO_INSTALL = "install it on the runner, or name an image that holds it as server.image";

/** ` (package postgresql-17-pgvector)` for extensions whose package is known, else nothing. */
export function describePackage(extension: string, major: number): string {
  const known = PACKAGES[extension]?.replace("%", String(major));
  if (known !== undefined) return ` (package ${known})`;
  return CONTRIB.has(extension) ? ` (package postgresql-${major}, on RHEL postgresql${major}-contrib)` : "";
}
