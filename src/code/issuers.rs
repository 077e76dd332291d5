//! Which codes are ours: the configured prefixes and AIDs, and the form each network takes.

use std::fmt;

use thiserror::Error;

use super::body::Prefix;
pub use crate::domain::model::code::Form;
use crate::hex;

/// Shortest and longest AID that EMV allows, in bytes.
const AID_BYTES: std::ops::RangeInclusive<usize> = 5..=16;
/// Longest application label that EMV allows.
const LABEL_MAX: usize = 16;

/// An EMV application identifier, 5–16 bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Aid(Vec<u8>);

impl Aid {
    pub fn new(bytes: &[u8]) -> Result<Self, IssuersError> {
        if AID_BYTES.contains(&bytes.len()) { Ok(Self(bytes.to_vec())) } else { Err(IssuersError::Aid) }
    }

    /// From hexadecimal digits, upper or lower case.
    pub fn parse(digits: &str) -> Result<Self, IssuersError> {
        Self::new(&hex::decode_any(digits).ok_or(IssuersError::Aid)?)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Aid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Aid(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))?;
        f.write_str(")")
    }
}

/// The application label that a register may show: 1–16 letters, digits or spaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    pub fn parse(text: &str) -> Result<Self, IssuersError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b' ';
        if (1..=LABEL_MAX).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IssuersError::Label)
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// One EMV application that is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    pub aid: Aid,
    pub form: Form,
    /// Must be in the payload as it stands here: no MAC covers it, and a payload that is ours but
    /// shows another name at the register was tampered with. To change a label, list the new one
    /// first and keep the old one for as long as its codes live.
    pub label: Label,
}

/// What makes a list of issuers unusable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IssuersError {
    /// Wrong length, or not hexadecimal.
    #[error("an AID is 5 to 16 bytes in hexadecimal")]
    Aid,
    /// Wrong length or characters.
    #[error("a label is 1 to 16 letters, digits or spaces")]
    Label,
    /// No barcode could be issued or read.
    #[error("no prefix is configured")]
    NoPrefix,
    /// No QR could be issued or read.
    #[error("no AID is configured")]
    NoApplication,
    /// A prefix has one form.
    #[error("prefix {0} is listed twice")]
    DuplicatePrefix(Prefix),
    /// Same AID and same label.
    #[error("an AID is listed twice with the same label")]
    DuplicateApplication,
}

/// All prefixes and AIDs that are ours; the first of a form is the one that issues in that form.
#[derive(Debug, Clone)]
pub struct Issuers {
    pub(crate) prefixes: Vec<(Prefix, Form)>,
    pub(crate) applications: Vec<Application>,
}

/// What one code is issued under.
#[derive(Debug, Clone, Copy)]
pub struct Issuer<'a> {
    pub prefix: Prefix,
    pub form: Form,
    pub application: &'a Application,
}

impl Issuers {
    pub fn new(prefixes: Vec<(Prefix, Form)>, applications: Vec<Application>) -> Result<Self, IssuersError> {
        if prefixes.is_empty() {
            return Err(IssuersError::NoPrefix);
        }
        if applications.is_empty() {
            return Err(IssuersError::NoApplication);
        }
        for (at, (prefix, _)) in prefixes.iter().enumerate() {
            if prefixes.iter().take(at).any(|(other, _)| other == prefix) {
                return Err(IssuersError::DuplicatePrefix(*prefix));
            }
        }
        for (at, one) in applications.iter().enumerate() {
            if applications.iter().take(at).any(|other| other.aid == one.aid && other.label == one.label) {
                return Err(IssuersError::DuplicateApplication);
            }
        }
        Ok(Self { prefixes, applications })
    }

    /// The test prefix and test AID: a sandbox's, where none are written.
    #[expect(clippy::expect_used, reason = "constants, used by every test")]
    pub fn sandbox() -> Self {
        let parts = || {
            let application = Application {
                aid: Aid::new(&[0xF0, 0, 0, 0, 0, 0, 0x01])?,
                form: Form::L24,
                label: Label::parse("TESTPAY")?,
            };
            let prefix = Prefix::from_ascii(*b"90009999").ok_or(IssuersError::NoPrefix)?;
            Self::new(vec![(prefix, Form::L24)], vec![application])
        };
        parts().expect("the test prefix, AID and label are well-formed")
    }

    /// What codes of a form are issued under; `None` if no prefix has it. An AID of the same form
    /// is preferred.
    pub fn issuer(&self, form: Form) -> Option<Issuer<'_>> {
        let (prefix, _) = *self.prefixes.iter().find(|(_, one)| *one == form)?;
        let application =
            self.applications.iter().find(|one| one.form == form).or_else(|| self.applications.first())?;
        Some(Issuer { prefix, form, application })
    }

    /// The form of a code for which none was asked: that of the first prefix.
    pub fn first_form(&self) -> Form {
        self.prefixes.first().map_or(Form::L24, |(_, form)| *form)
    }

    /// The form of a prefix, if it is ours.
    pub fn form_of(&self, prefix: Prefix) -> Option<Form> {
        self.prefixes.iter().find(|(one, _)| *one == prefix).map(|(_, form)| *form)
    }

    /// Our applications that an ADF name selects: equal, or ours is its left part.
    pub fn applications_of<'a>(&'a self, adf_name: &'a [u8]) -> impl Iterator<Item = &'a Application> + Clone {
        self.applications.iter().filter(move |one| adf_name.starts_with(one.aid.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(aid: &str, form: Form, label: &str) -> Application {
        Application { aid: Aid::parse(aid).unwrap(), form, label: Label::parse(label).unwrap() }
    }

    #[test]
    fn aids_and_labels_are_checked() {
        assert_eq!(Aid::parse("f0000000000001"), Aid::parse("F0000000000001"));
        assert_eq!(Aid::parse("F0000000000001").unwrap().as_bytes(), [0xF0, 0, 0, 0, 0, 0, 1]);
        let long = "00".repeat(17);
        for hex in ["", "F0", "F0000000", "F000000000000", "G000000000", "Ｆ000000000", &long] {
            assert_eq!(Aid::parse(hex), Err(IssuersError::Aid), "{hex}");
        }
        for text in ["", "12345678901234567", "PAY!", "払い"] {
            assert_eq!(Label::parse(text), Err(IssuersError::Label), "{text}");
        }
    }

    #[test]
    fn lists_are_checked() {
        let prefix = Prefix::parse("90009999").unwrap();
        let app = application("F0000000000001", Form::L24, "A");
        let error = |prefixes, apps| Issuers::new(prefixes, apps).err();
        assert_eq!(error(vec![], vec![app.clone()]), Some(IssuersError::NoPrefix));
        assert_eq!(error(vec![(prefix, Form::L24)], vec![]), Some(IssuersError::NoApplication));
        let both = vec![(prefix, Form::L24), (prefix, Form::Tok19)];
        let twice = Some(IssuersError::DuplicatePrefix(prefix));
        assert_eq!(error(both, vec![app.clone()]), twice);
        let apps = vec![app.clone(), app];
        let twice = Some(IssuersError::DuplicateApplication);
        assert_eq!(error(vec![(prefix, Form::L24)], apps), twice);
    }

    #[test]
    fn each_form_has_its_issuer() {
        let l24 = Prefix::parse("11111111").unwrap();
        let tok19 = Prefix::parse("22222222").unwrap();
        let second = Prefix::parse("33333333").unwrap();
        let issuers = Issuers::new(
            vec![(l24, Form::L24), (tok19, Form::Tok19), (second, Form::Tok19)],
            vec![
                application("F0000000000001", Form::L24, "ONE"),
                application("F0000000000002", Form::Tok19, "TWO"),
                application("F000000000", Form::L24, "SHORT"),
            ],
        )
        .unwrap();
        assert_eq!((issuers.issuer(Form::L24).unwrap().prefix, issuers.first_form()), (l24, Form::L24));
        let issuer = issuers.issuer(Form::Tok19).unwrap();
        assert_eq!((issuer.prefix, issuer.application.label.as_bytes()), (tok19, &b"TWO"[..]));
        assert_eq!(issuers.form_of(second), Some(Form::Tok19));
        let labels =
            |adf: &[u8]| -> Vec<String> { issuers.applications_of(adf).map(|one| one.label.0.clone()).collect() };
        assert_eq!(labels(&[0xF0, 0, 0, 0, 0, 0, 1]), ["ONE", "SHORT"]);
        assert_eq!(labels(&[0xF0, 0, 0, 0, 0, 0, 1, 9]), ["ONE", "SHORT"]);
        assert_eq!(labels(&[0xF0, 0, 0, 0, 0]), ["SHORT"]);
        assert!(labels(&[0xF0, 0, 0, 0]).is_empty());
        assert!(Issuers::sandbox().issuer(Form::Tok19).is_none());
    }
}
