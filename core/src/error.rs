//! One error for every crate: kind, message, detail, hint, object, cause.
//!
//! The kind alone decides SQLSTATE and class, in one exhaustive match; the class decides whether the applier tries again.
//! A message never holds a row value, a connection string or a password.

use std::fmt;

/// Result of everything in pgrelay that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// What kind of thing went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that the user gave cannot be used: NULL, an unknown option, a bad pattern.
    InvalidValue,
    /// A task, table or other object that does not exist.
    UndefinedObject,
    /// A task or object of that name exists already.
    DuplicateObject,
    /// The task's state does not allow it.
    WrongState,
    /// The caller or the applier lacks a right.
    InsufficientPrivilege,
    /// pgrelay does not do this (yet).
    NotSupported,
    /// The connection could not be made or broke.
    Connection,
    /// The server is out of something: slots, connections, disk.
    InsufficientResources,
    /// Another transaction was in the way: deadlock, serialization, lock timeout.
    Contention,
    /// A setting of a server must be changed first.
    Configuration,
    /// The peer holds a row, or lacks one, that the change did not expect.
    Conflict,
    /// The server refused a row or statement for another reason; its SQLSTATE is in the detail.
    Rejected,
    /// It was tried again for as long as the task's options allow.
    GivenUp,
    /// A table's shape on the two sides differs, or a new, dropped or rewritten table was found.
    ShapeChanged,
    /// The slot, origin or lineage is not the one this task made: going on could lose rows.
    PositionLost,
    /// Something waited for did not happen in the time given.
    Timeout,
    /// Bytes from a server that the protocol does not allow.
    Protocol,
    /// A defect of pgrelay.
    Internal,
}

/// What an error means for going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Goes away by itself: tried again within the task's window for connections.
    Transient,
    /// Somebody has to do something: tried again within the task's window for other problems.
    Operator,
    /// Trying again cannot help and may harm.
    Never,
}

impl Kind {
    /// SQLSTATE (PostgreSQL appendix A) and class of this kind.
    pub fn sqlstate_and_class(self) -> (&'static str, Class) {
        use Class::*;
        match self {
            Kind::InvalidValue => ("22023", Never),
            Kind::UndefinedObject => ("42704", Never),
            Kind::DuplicateObject => ("42710", Never),
            Kind::WrongState => ("55000", Never),
            Kind::InsufficientPrivilege => ("42501", Operator),
            Kind::NotSupported => ("0A000", Never),
            Kind::Connection => ("08006", Transient),
            Kind::InsufficientResources => ("53000", Transient),
            Kind::Contention => ("40001", Transient),
            Kind::Configuration => ("55000", Operator),
            Kind::Conflict => ("23000", Never),
            Kind::Rejected => ("58000", Operator),
            Kind::GivenUp => ("58000", Never),
            Kind::ShapeChanged => ("55000", Operator),
            Kind::PositionLost => ("55000", Never),
            Kind::Timeout => ("57014", Operator),
            Kind::Protocol => ("08P01", Transient),
            Kind::Internal => ("XX000", Never),
        }
    }
}

/// An error as it is shown in psql, in the log and in `pgrelay.event`.
#[derive(Debug)]
pub struct Error {
    /// Decides SQLSTATE and class.
    pub kind: Kind,
    /// Lower case, no full stop, names quoted.
    pub message: String,
    /// A sentence of fact.
    pub detail: Option<String>,
    /// A sentence that says what to do.
    pub hint: Option<String>,
    /// The table or other object it is about, as `schema.name`.
    pub object: Option<String>,
    /// The SQLSTATE that a server reported, when one did.
    pub server_sqlstate: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind` with its primary message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), detail: None, hint: None, object: None, server_sqlstate: None, source: None }
    }

    /// Adds a sentence of fact.
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a sentence that says what to do.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names the object it is about.
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// Keeps the SQLSTATE that a server reported.
    pub fn server_sqlstate(mut self, code: impl Into<String>) -> Self {
        self.server_sqlstate = Some(code.into());
        self
    }

    /// Attaches the cause.
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// SQLSTATE to show: the server's own when there is one.
    pub fn sqlstate(&self) -> &str {
        self.server_sqlstate.as_deref().unwrap_or(self.kind.sqlstate_and_class().0)
    }

    /// Whether and how long it is worth trying again.
    pub fn class(&self) -> Class {
        self.kind.sqlstate_and_class().1
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(detail) = &self.detail {
            write!(f, " ({detail})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|s| s.as_ref() as &(dyn std::error::Error + 'static))
    }
}
