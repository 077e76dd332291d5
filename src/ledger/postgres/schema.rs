//! PostgreSQL's tables: made by their owner, in [`migrate`]; looked at by the service's role, in [`check`], which also looks
//! at what that role may do and how the server is set.

use super::session::{LONG, Purpose, Session};
use crate::database::Server;
use crate::domain::model::time::Millis;
use crate::ledger::LedgerError;
use crate::ledger::words::words;
use crate::migrations::{self, Applied, Migration};

/// Applied ones never change: their hash is in every ledger. A change of the tables is a new file.
const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "books", sql: include_str!("schema/0001_books.sql") },
    Migration { version: 2, name: "views", sql: include_str!("schema/0002_views.sql") },
    Migration { version: 3, name: "rights", sql: include_str!("schema/0003_rights.sql") },
    Migration { version: 4, name: "due", sql: include_str!("schema/0004_due.sql") },
    Migration { version: 5, name: "lists", sql: include_str!("schema/0005_lists.sql") },
];

/// The schema this program was written for.
pub(crate) const KNOWN: i64 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// The number of the lock under which one migrates: any that nobody else has.
const LOCK: i64 = 0x536f_6b6b_6574_7375;

const APPLIED: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (
    version bigint PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL, applied_at bigint NOT NULL)";

/// The roles that the files grant rights to.
const ROLES: [&str; 2] = ["sokketsu_ledger", "sokketsu_analyst"];

/// Brings the tables up to date, as their owner, and says which version they had before and have now.
pub(crate) fn migrate(server: &Server, now: Millis) -> Result<(i64, i64), LedgerError> {
    let mut session = Session::open(server, Purpose::Migrating)?;
    session.limit = LONG;
    // Whoever comes second waits here, and then finds nothing left to do. It ends with the connection.
    session.run(&format!("SET lock_timeout = 0; SELECT pg_advisory_lock({LOCK})"))?;
    session.run(APPLIED)?;
    let before = migrations::check(&applied(&mut session)?, MIGRATIONS)?;
    make_roles(&mut session)?;
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > before) {
        session.run("BEGIN")?;
        session.run(migration.sql)?;
        let (version, name, sha256) = (migration.version, migration.name, migration.sha256());
        let note = "INSERT INTO schema_migrations VALUES ($1, $2, $3, $4)";
        session.execute(note, &[&version, &name, &sha256, &now.0])?;
        session.run("COMMIT")?;
    }
    session.run("GRANT SELECT ON schema_migrations, word TO sokketsu_ledger")?;
    write_words(&mut session)?;
    Ok((before, KNOWN))
}

/// Roles are the whole server's: who may, makes those that are missing.
fn make_roles(session: &mut Session) -> Result<(), LedgerError> {
    for role in ROLES {
        let known = "SELECT count(*) FROM pg_roles WHERE rolname = $1";
        if session.one(known, &[&role], |cells| cells.int(0))? > 0 {
            continue;
        }
        session.run(&format!("CREATE ROLE {role} NOLOGIN")).map_err(|error| match error {
            LedgerError::Refused(_) => LedgerError::Refused(format!(
                "the role {role} is missing, and this one may not make it: have an administrator run `CREATE ROLE {role} NOLOGIN`"
            )),
            other => other,
        })?;
    }
    Ok(())
}

/// Writes the names that the views show, where they are new.
fn write_words(session: &mut Session) -> Result<(), LedgerError> {
    let (mut lists, mut numbers, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (list, number, name) in words() {
        lists.push(list);
        numbers.push(i16::from(number));
        names.push(name);
    }
    let put = "INSERT INTO word SELECT * FROM unnest($1::text[], $2::smallint[], $3::text[])
        ON CONFLICT (list, number) DO UPDATE SET word = excluded.word WHERE word.word <> excluded.word";
    session.execute(put, &[&lists, &numbers, &names]).map(drop)
}

fn applied(session: &mut Session) -> Result<Vec<Applied>, LedgerError> {
    let owned = |text: &str| Some(text.to_owned());
    session.all("SELECT version, name, sha256 FROM schema_migrations ORDER BY version", &[], |cells| {
        Ok(Applied { version: cells.int(0)?, name: cells.text(1, owned)?, sha256: cells.text(2, owned)? })
    })
}

/// Whether the tables are those of this program.
pub(crate) fn check(session: &mut Session) -> Result<(), LedgerError> {
    let is_there = "SELECT to_regclass('public.schema_migrations') IS NOT NULL";
    let found = if session.one(is_there, &[], |cells| cells.int(0))? == 0 {
        0
    } else {
        migrations::check(&applied(session)?, MIGRATIONS)?
    };
    if found < KNOWN { Err(LedgerError::NotMigrated { found, known: KNOWN }) } else { Ok(()) }
}

/// Whether the role may do what the service does and no more, and whether the server keeps what it has confirmed.
pub(crate) fn check_rights(session: &mut Session) -> Result<(), LedgerError> {
    let refuse = |why: &str| Err(LedgerError::Refused(why.to_owned()));
    let sql = "SELECT
        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
        EXISTS (SELECT 1 FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'p')
            AND pg_has_role(current_user, relowner, 'MEMBER')),
        has_table_privilege('decision', 'UPDATE, DELETE, TRUNCATE'),
        has_table_privilege('decision', 'INSERT'),
        current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'";
    let [is_super, is_owner, may_change, may_add, is_safe] = session.one(sql, &[], |cells| {
        let is = |at| Ok::<_, LedgerError>(cells.int(at)? != 0);
        Ok([is(0)?, is(1)?, is(2)?, is(3)?, is(4)?])
    })?;
    if is_super || is_owner || may_change {
        return refuse(
            "the role has too many rights (a superuser, the owner of the tables, or one that may change decisions): \
             give the service a role of its own and `GRANT sokketsu_ledger` to it, and nothing else",
        );
    }
    if !may_add {
        return refuse("the role may not post: `GRANT sokketsu_ledger` to it");
    }
    if !is_safe {
        return refuse("a crash of the server may damage it: set `fsync = on` and `full_page_writes = on`");
    }
    Ok(())
}
