/** SQL for whether reading the table `oid` stays on this server: a recovered copy must not ask production's others. */
export function hasNoForeignPart(oid: string): string {
  return `NOT EXISTS (
    SELECT FROM (SELECT relid FROM pg_partition_tree(${oid})
      UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = ${oid}) part
    JOIN pg_class f ON f.oid = part.relid WHERE f.relkind = 'f')`;
}
