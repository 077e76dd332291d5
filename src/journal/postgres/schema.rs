//! The journal's tables: made by their owner, in [`migrate`]; a node only looks, in [`check`], also at what its role may do.

use super::session::PgSession;
use super::table::{Answer, Fault};
use crate::database::Server;
use crate::migrations::{self, Applied, Migration, NotOurs};

/// Applied ones never change: their hash is in every cluster.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "cluster", sql: include_str!("schema/0001_cluster.sql") },
    Migration { version: 2, name: "rights", sql: include_str!("schema/0002_rights.sql") },
    Migration { version: 3, name: "operator", sql: include_str!("schema/0003_operator.sql") },
    Migration { version: 4, name: "merchants", sql: include_str!("schema/0004_merchants.sql") },
];

/// The schema this program was written for.
const KNOWN: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// The format of records that this program writes and reads.
const FORMAT: i32 = 1;

/// SQLSTATE of a privilege that is missing.
const NO_RIGHT: &str = "42501";

/// The number of the lock under which one migrates: any that nobody else has.
const LOCK: i64 = 0x536f_6b6b_4a6f_7572;

const TABLE: &str = "CREATE TABLE IF NOT EXISTS journal_migrations (
    version integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())";

const APPLIED: &str = "SELECT version::text, name, sha256 FROM journal_migrations ORDER BY version";

/// The owner of the tables may seldom make roles; then an administrator has.
const ROLES: &str = "DO $$ DECLARE name text; BEGIN
    FOREACH name IN ARRAY ARRAY['sokketsu_node', 'sokketsu_operator'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', name);
        END IF;
    END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = format('the role %1$s is missing: as an administrator `CREATE ROLE %1$s NOLOGIN`', name);
END $$;
GRANT SELECT ON journal_migrations TO sokketsu_node";

/// What `cluster init` made it for.
const KIND: &str = "SELECT format::text, sandbox::text FROM cluster";

/// Whether the tables are there, and are ours.
const IS_THERE: &str = "SELECT CASE WHEN to_regclass('journal_migrations') IS NULL THEN 'no' ELSE 'yes' END";

/// What is wrong with the role, if anything: it may do what a node does and no more.
const RIGHTS: &str = "SELECT CASE
    WHEN (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
        OR (SELECT pg_has_role(current_user, relowner, 'MEMBER') FROM pg_class WHERE oid = 'journal'::regclass)
        OR has_any_column_privilege('journal', 'UPDATE') OR has_table_privilege('setting', 'INSERT, UPDATE, DELETE, TRUNCATE')
        OR EXISTS (SELECT FROM pg_partition_tree('journal')
            WHERE has_table_privilege(relid, 'DELETE, TRUNCATE') OR has_any_column_privilege(relid, 'UPDATE')) THEN 'many'
    WHEN NOT has_table_privilege('journal', 'INSERT') OR NOT has_table_privilege('owner', 'UPDATE') THEN 'few'
    ELSE 'right' END";

/// Brings the tables up to date, as their owner, and makes the cluster if there is none.
pub(super) fn migrate(server: &Server, sandbox: bool) -> Answer<()> {
    let mut session = PgSession::of_owner(server)?;
    // Whoever comes second waits, and then finds nothing left to do.
    session.run(&format!("SET lock_timeout = 0; SELECT pg_advisory_lock({LOCK})"))?;
    session.run(TABLE).map_err(|fault| match fault.why() {
        why if why.contains(NO_RIGHT) => {
            Fault::Unfit(format!("{why}: come as the owner of the database, who owns the tables"))
        }
        _ => fault,
    })?;
    let before = compare(session.texts(APPLIED)?)??;
    session.run(ROLES)?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > before) {
        let (version, name, hash) = (migration.version, migration.name, migration.sha256());
        session.run(&format!(
            "BEGIN; {}; INSERT INTO journal_migrations VALUES ({version}, '{name}', '{hash}'); COMMIT",
            migration.sql
        ))?;
    }
    session.run(&format!(
        "INSERT INTO cluster (id, streams, format, sandbox) VALUES (gen_random_uuid(), 1, {FORMAT}, {sandbox})
             ON CONFLICT DO NOTHING;
         INSERT INTO owner (stream) SELECT generate_series(0, streams - 1) FROM cluster ON CONFLICT DO NOTHING;
         SELECT journal_months((extract(year FROM t) * 12 + extract(month FROM t) - 1)::int)
             FROM (SELECT now() AT TIME ZONE 'Asia/Tokyo' AS t) AS today"
    ))?;
    check_kind(&mut session, sandbox)
}

/// The version of the tables, once it is sure that they are ours; an error within, where they are newer.
fn compare(applied: Vec<[String; 3]>) -> Answer<Result<i64, Fault>> {
    // The column is a whole number; 0 is no version of ours.
    let of = |[version, name, sha256]: [String; 3]| Applied { version: version.parse().unwrap_or(0), name, sha256 };
    let applied: Vec<Applied> = applied.into_iter().map(of).collect();
    match migrations::check(&applied, MIGRATIONS) {
        Ok(version) => Ok(Ok(version)),
        Err(NotOurs::Newer { found, known }) => Ok(Err(Fault::Newer(format!(
            "its tables are of schema {found} and this program knows {known}: start the newer program"
        )))),
        Err(NotOurs::Other { version, name }) => {
            Err(Fault::Unfit(format!("migration {version} ({name}) is not the one of this program")))
        }
    }
}

fn version(session: &mut PgSession) -> Answer<Result<i64, Fault>> {
    if session.text(IS_THERE)? == "yes" { compare(session.texts(APPLIED)?) } else { Ok(Ok(0)) }
}

fn not_migrated() -> Fault {
    Fault::Unfit("its tables are missing or old: run `sokketsu cluster init` as their owner".to_owned())
}

/// Whether the tables are those of this program, neither older nor newer.
pub(super) fn check_tables(session: &mut PgSession) -> Answer<()> {
    if version(session)?? < KNOWN { Err(not_migrated()) } else { Ok(()) }
}

/// Whether the cluster's records are such as this program writes, for real money or for a sandbox's.
pub(super) fn check_kind(session: &mut PgSession, sandbox: bool) -> Answer<()> {
    let [format, is_sandbox] = session.texts(KIND)?.pop().unwrap_or_default();
    if format != FORMAT.to_string() {
        let what =
            format!("its records are of format {format}, and this program writes {FORMAT}: start the newer program");
        return Err(Fault::Newer(what));
    }
    match (is_sandbox == "true", sandbox) {
        (true, false) => {
            Err(Fault::Unfit("it was made for a sandbox: start with --sandbox, or name another".to_owned()))
        }
        (false, true) => {
            Err(Fault::Unfit("it was made for real records: start without --sandbox, or name another".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Whether the tables are those of this program or of a later one, beside which it may go on, and the role is a node's.
pub(super) fn check(session: &mut PgSession) -> Answer<()> {
    if version(session)?.is_ok_and(|version| version < KNOWN) {
        return Err(not_migrated());
    }
    match session.text(RIGHTS)?.as_str() {
        "right" => Ok(()),
        "few" => Err(Fault::Unfit("the role may not append: `GRANT sokketsu_node` to it".to_owned())),
        _ => Err(Fault::Unfit(
            "the role has too many rights (a superuser, the owner of the tables, or one that may change what was journaled): \
             give the node a role of its own and `GRANT sokketsu_node, pg_read_all_stats` to it, and nothing else"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres_server::PgServer;

    #[test]
    fn a_role_that_is_missing_is_asked_for() {
        let pg = PgServer::shared();
        let server = Server::parse(&pg.url("sokketsu_owner", &pg.empty_database()), None, None).unwrap();
        let refused = migrate(&server, false).unwrap_err();
        let asked = "as an administrator `CREATE ROLE sokketsu_node NOLOGIN`";
        assert!(matches!(&refused, Fault::Unfit(why) if why.contains(asked)), "{refused:?}");
    }
}
