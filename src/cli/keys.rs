//! `sokketsu keys`: the file of signing keys, and bearer keys for callers.
//!
//! A rotation overlaps: the new generation issues, the old one verifies until the last code it sealed has expired,
//! then it is retired and its keys are forgotten. Key bytes are never shown and stand in no error text.

use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use clap::Subcommand;
use rand::TryRng;
use rand::rngs::SysRng;
use zeroize::Zeroizing;

use crate::code::keyring::GENERATIONS;
use crate::code::{GenerationKeys, KeyState, SecretKey};
use crate::config::keys_file::{Generation, KeysFile, KeysFileError};
use crate::config::{KeyHash, Role};
use crate::domain::model::time::Millis;
use crate::files;

/// The file of signing keys unless `--file` names another.
pub const DEFAULT_FILE: &str = "config/signing-keys.toml";

#[derive(Subcommand, Clone, Debug)]
pub enum Command {
    /// Make a file of signing keys, or with --api a bearer key for a caller
    New {
        /// File of signing keys to make
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        file: PathBuf,
        /// Make a bearer key of this name instead, and show it once
        #[arg(long, value_name = "NAME", requires = "role", conflicts_with = "file")]
        api: Option<String>,
        /// Role of the bearer key
        #[arg(long, requires = "api")]
        role: Option<Role>,
        /// Its requests must be signed too: also make a file with the secret, config/NAME.secret
        #[arg(long, requires = "api")]
        signed: bool,
    },
    /// Add a generation that issues from now on; the present one verifies until it is retired
    Rotate {
        /// File of signing keys
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        file: PathBuf,
    },
    /// Forget the keys of a generation that no longer issues
    Retire {
        /// 0 to 4
        generation: u8,
        /// File of signing keys
        #[arg(long, value_name = "FILE", default_value = DEFAULT_FILE)]
        file: PathBuf,
    },
}

/// Why the command did nothing.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("{} is there already and was left alone; `sokketsu keys rotate` adds a generation to signing keys", .0.display())]
    Exists(PathBuf),
    #[error("--signed names a file after the key: letters, digits, `-` and `_` only, please")]
    Name,
    #[error(transparent)]
    File(#[from] KeysFileError),
    #[error("{} cannot be written: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("generation {0} issues the codes of today: `sokketsu keys rotate` first")]
    StillActive(u8),
    #[error("generation {0} is retired already")]
    AlreadyRetired(u8),
    #[error("there is no generation {0} in the file")]
    NoSuchGeneration(u8),
    #[error("all five generations are in use: retire one that has been verify_only for longer than a code lives")]
    NoneFree,
    #[error("the operating system gives no random bytes: {0}")]
    Random(String),
}

impl KeysError {
    fn write(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if source.kind() == io::ErrorKind::AlreadyExists { Self::Exists(path) } else { Self::Write { path, source } }
    }

    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Exists(_)
            | Self::Name
            | Self::StillActive(_)
            | Self::AlreadyRetired(_)
            | Self::NoSuchGeneration(_)
            | Self::NoneFree => 64,
            Self::File(_) => 78,
            Self::Write { .. } => 74,
            Self::Random(_) => 70,
        }
    }
}

/// Does what was asked and returns what to print. It may hold a bearer key.
pub fn run(command: &Command, now: Millis) -> Result<Zeroizing<String>, KeysError> {
    match command {
        Command::New { file, api: Some(name), role, signed } => {
            let secret = if *signed { Some(new_signature_secret(file, name)?) } else { None };
            new_bearer(name, role.unwrap_or(Role::Register), secret.as_deref())
        }
        Command::New { file, .. } => new_file(file, now).map(Zeroizing::new),
        Command::Rotate { file } => rotate(file, now).map(Zeroizing::new),
        Command::Retire { generation, file } => retire(file, *generation, now).map(Zeroizing::new),
    }
}

fn random_key() -> Result<SecretKey, KeysError> {
    let mut key = Zeroizing::new([0; 32]);
    SysRng.try_fill_bytes(key.as_mut_slice()).map_err(|error| KeysError::Random(error.to_string()))?;
    Ok(key)
}

fn random_generation(number: u8, since: Millis) -> Result<Generation, KeysError> {
    let keys = GenerationKeys::new(number, KeyState::Active, random_key()?, random_key()?);
    Ok(Generation { keys, since })
}

fn new_file(path: &Path, now: Millis) -> Result<String, KeysError> {
    let file = KeysFile { generations: vec![random_generation(0, now)?] };
    file.create(path).map_err(|error| KeysError::write(path, error))?;
    Ok(format!(
        "Made {} with generation 0, active. Only its owner may read it.\n\
         Next: name it in the configuration, relative to the configuration's folder,\n\n\
         [signing]\nkeys_file = \"{}\"\n\n\
         give it to the account the service runs as, and back it up where only few can read it.",
        path.display(),
        path.file_name().unwrap_or_default().display()
    ))
}

/// The new generation takes the first number after the active one that is free: never used, or retired.
fn rotate(path: &Path, now: Millis) -> Result<String, KeysError> {
    let mut file = KeysFile::read(path)?;
    let count = u8::try_from(GENERATIONS).unwrap_or(u8::MAX);
    let active = (0..count).find(|number| file.state(*number) == Some(KeyState::Active)).unwrap_or_default();
    let is_free = |number: &u8| matches!(file.state(*number), None | Some(KeyState::Retired));
    let next = (1..count).map(|step| (active + step) % count).find(is_free).ok_or(KeysError::NoneFree)?;
    if let Some(old) = file.get(active) {
        old.keys.state = KeyState::VerifyOnly;
        old.since = now;
    }
    file.generations.retain(|generation| generation.keys.generation != next);
    file.generations.push(random_generation(next, now)?);
    file.generations.sort_by_key(|generation| generation.keys.generation);
    file.replace(path).map_err(|error| KeysError::write(path, error))?;
    Ok(format!(
        "Generation {next} is active, generation {active} verifies only.\n\
         Next: restart the service, so that it issues with generation {next}. Once that is done and the last code of \
         generation {active} has expired (codes.life_seconds of the policy later):\n\n  \
         sokketsu keys retire {active} --file {}",
        path.display()
    ))
}

fn retire(path: &Path, number: u8, now: Millis) -> Result<String, KeysError> {
    let mut file = KeysFile::read(path)?;
    let generation = file.get(number).ok_or(KeysError::NoSuchGeneration(number))?;
    match generation.keys.state {
        KeyState::Active => return Err(KeysError::StillActive(number)),
        KeyState::Retired => return Err(KeysError::AlreadyRetired(number)),
        KeyState::VerifyOnly => {}
    }
    *generation = Generation { keys: GenerationKeys::retired(number), since: now };
    file.replace(path).map_err(|error| KeysError::write(path, error))?;
    Ok(format!(
        "Generation {number} is retired and its keys are forgotten; a later rotation may use its number again.\n\
         Next: restart the service, so that it stops taking codes of generation {number}."
    ))
}

/// A secret for signed requests in a file of its own, in the folder of the signing keys.
fn new_signature_secret(beside: &Path, name: &str) -> Result<PathBuf, KeysError> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if name.is_empty() || !name.chars().all(is_plain) {
        return Err(KeysError::Name);
    }
    let path = beside.with_file_name(format!("{name}.secret"));
    let text = Zeroizing::new([STANDARD.encode(random_key()?.as_slice()).as_str(), "\n"].concat());
    files::create(&path, text.as_bytes()).map_err(|error| KeysError::write(&path, error))?;
    Ok(path)
}

/// A bearer key: 32 random bytes, shown this once; the service keeps its hash. `secret` is the file with which its
/// requests are signed.
fn new_bearer(name: &str, role: Role, secret: Option<&Path>) -> Result<Zeroizing<String>, KeysError> {
    let random = random_key()?;
    let digits = Zeroizing::new(URL_SAFE_NO_PAD.encode(random.as_slice()));
    let bearer = Zeroizing::new(["sok_", digits.as_str()].concat());
    let quoted = toml::Value::String(name.to_owned());
    let merchants = match role {
        Role::Register => "\nmerchants = []                    # to fill in: the merchants it speaks for, or \"*\"",
        Role::Wallet | Role::Office | Role::Ops => "",
    };
    let hash = KeyHash::of(&bearer);
    let role = role.name();
    let mut block = format!("[[key]]\nname = {quoted}\nrole = \"{role}\"\nhash = \"{hash}\"{merchants}");
    let mut and_secret = String::new();
    if let Some(path) = secret {
        block += &format!("\nsignature_secret_file = \"{}\"", path.file_name().unwrap_or_default().display());
        and_secret = format!(
            "Its requests must be signed with the secret in {}, which the caller needs as well; docs/signing.md \
             says how.\n\n",
            path.display()
        );
    }
    Ok(Zeroizing::new(
        [
            "The bearer key, shown this once; give it to the caller over a safe way:\n\n  ",
            &bearer,
            "\n\n",
            &and_secret,
            "Next: add this to the configuration and restart the service.\n\n",
            &block,
        ]
        .concat(),
    ))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::config::SignatureSecret;
    use crate::config::keys_file::read_keyring as read;
    use crate::files::Access;

    fn at(second: i64) -> Millis {
        Millis(1_790_000_000_000 + second * 1_000)
    }

    fn made() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys").join("signing-keys.toml");
        let said = run(&Command::New { file: path.clone(), api: None, role: None, signed: false }, at(0)).unwrap();
        assert!(said.contains("keys_file = \"signing-keys.toml\""), "{}", *said);
        (folder, path)
    }

    fn rotate(path: &Path) -> Result<Zeroizing<String>, KeysError> {
        run(&Command::Rotate { file: path.to_owned() }, at(1))
    }

    fn retire(path: &Path, generation: u8) -> Result<Zeroizing<String>, KeysError> {
        run(&Command::Retire { generation, file: path.to_owned() }, at(2))
    }

    #[test]
    fn a_new_file_is_secret_and_never_overwritten() {
        let (_folder, path) = made();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let ring = read(&path).unwrap();
        assert_eq!((ring.active(), ring.has_published_test_keys()), (0, false));
        let before = fs::read_to_string(&path).unwrap();
        let again = run(&Command::New { file: path.clone(), api: None, role: None, signed: false }, at(0)).unwrap_err();
        assert!(matches!(again, KeysError::Exists(_)), "{again}");
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        let (_other, other) = made();
        assert_ne!(fs::read_to_string(other).unwrap(), before);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let (_folder, path) = made();
        for mode in [0o640, 0o604, 0o620, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.to_string().contains(&format!("mode {mode:04o}")), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        read(&path).unwrap();
    }

    #[test]
    fn a_rotation_overlaps_and_a_retired_generation_is_forgotten() {
        let (_folder, path) = made();
        let said = rotate(&path).unwrap();
        assert!(said.contains("keys retire 0"), "{}", *said);
        let ring = read(&path).unwrap();
        assert_eq!((ring.active(), ring.state(0)), (1, Some(KeyState::VerifyOnly)));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(matches!(retire(&path, 1), Err(KeysError::StillActive(1))));
        assert!(matches!(retire(&path, 3), Err(KeysError::NoSuchGeneration(3))));
        retire(&path, 0).unwrap();
        assert!(matches!(retire(&path, 0), Err(KeysError::AlreadyRetired(0))));
        assert_eq!(read(&path).unwrap().state(0), Some(KeyState::Retired));
        assert_eq!(fs::read_to_string(&path).unwrap().matches("barcode = ").count(), 1);
    }

    #[test]
    fn numbers_go_round_and_run_out() {
        let (_folder, path) = made();
        for _ in 0..4 {
            rotate(&path).unwrap();
        }
        assert_eq!(read(&path).unwrap().active(), 4);
        let before = fs::read_to_string(&path).unwrap();
        assert!(matches!(rotate(&path), Err(KeysError::NoneFree)));
        assert_eq!(fs::read_to_string(&path).unwrap(), before);
        retire(&path, 2).unwrap();
        rotate(&path).unwrap();
        assert_eq!(read(&path).unwrap().active(), 2);
    }

    #[test]
    fn a_broken_file_is_named_by_line_without_its_content() {
        let (_folder, path) = made();
        let good = fs::read_to_string(&path).unwrap();
        let key = good.lines().find_map(|line| line.strip_prefix("barcode = ")).unwrap().trim_matches('"');
        let cases = [
            (good.replace("\"active\"", &format!("\"{key}\"")), ":6:9: "),
            (good.replace(key, &key[1..]), "generation 0: `barcode` must be 64 hexadecimal digits"),
            (good.replace("barcode", "barcod"), ":8:1: "),
            (good.replace("\"active\"", "\"verify_only\""), "no key generation is active"),
            (good.replace("number = 0", "number = 5"), "key generation 5 does not exist"),
            (good.replace("since = \"2", "since = \"x2"), "`since` must be a time"),
            (good.replace(key, &"00".repeat(32)), "placeholder"),
        ];
        for (text, expected) in cases {
            fs::write(&path, &text).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.to_string().contains(expected), "{error} should have {expected}");
            assert!(!error.to_string().contains(&key[1..]), "{error} shows a key");
            assert_eq!(rotate(&path).unwrap_err().exit_code(), 78);
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_bearer_key_is_shown_with_its_hash() {
        let file = PathBuf::from("unused");
        let command =
            Command::New { file, api: Some("Konbini \"K\"".to_owned()), role: Some(Role::Register), signed: false };
        let said = run(&command, at(0)).unwrap();
        let bearer = said.lines().map(str::trim).find(|line| line.starts_with("sok_")).unwrap();
        assert_eq!(bearer.len(), 4 + 43);
        let block = &said[said.find("[[key]]").unwrap()..];
        let table: toml::Table = toml::from_str(block).unwrap();
        let key = &table["key"][0];
        assert_eq!(key["name"].as_str(), Some("Konbini \"K\""));
        assert_eq!(key["hash"].as_str(), Some(KeyHash::of(bearer).to_string().as_str()));
        assert!(!Path::new("unused").exists());
    }

    #[test]
    fn a_signed_key_has_a_secret_of_its_own_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config").join("signing-keys.toml");
        let new = |name: &str| {
            let api = Some(name.to_owned());
            let role = Some(Role::Register);
            run(&Command::New { file: file.clone(), api, role, signed: true }, at(0))
        };
        let said = new("konbini-pos").unwrap();
        let path = file.with_file_name("konbini-pos.secret");
        let secret = SignatureSecret::read(&path, Access::Owner).unwrap();
        assert_eq!(secret.as_bytes().len(), 32);
        assert!(!said.contains(fs::read_to_string(&path).unwrap().trim()), "the secret is not shown");
        let table: toml::Table = toml::from_str(&said[said.find("[[key]]").unwrap()..]).unwrap();
        assert_eq!(table["key"][0]["signature_secret_file"].as_str(), Some("konbini-pos.secret"));
        assert!(matches!(new("konbini-pos"), Err(KeysError::Exists(_))));
        assert_eq!(SignatureSecret::read(&path, Access::Owner).unwrap(), secret);
        for name in ["", "../x", "a b"] {
            assert_eq!(new(name).unwrap_err().exit_code(), 64, "{name}");
        }
    }

    #[test]
    fn the_commands_parse() {
        use clap::{CommandFactory, FromArgMatches};
        #[derive(clap::Parser)]
        struct Line {
            #[command(subcommand)]
            command: Command,
        }
        Line::command().debug_assert();
        let parse = |line: &str| {
            let matches = Line::command().try_get_matches_from(line.split(' '));
            matches.and_then(|matches| Line::from_arg_matches(&matches)).map(|line| line.command)
        };
        assert!(
            matches!(parse("keys new"), Ok(Command::New { file, api: None, .. }) if file == Path::new(DEFAULT_FILE))
        );
        assert!(matches!(parse("keys new --api a --role ops"), Ok(Command::New { role: Some(Role::Ops), .. })));
        assert!(parse("keys new --api a").is_err());
        assert!(matches!(parse("keys new --api a --role ops --signed"), Ok(Command::New { signed: true, .. })));
        assert!(parse("keys new --signed").is_err());
        assert!(parse("keys new --api a --role ops --file f").is_err());
        assert!(matches!(parse("keys retire 0 --file f"), Ok(Command::Retire { generation: 0, .. })));
    }
}
