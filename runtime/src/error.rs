//! How does an error read: what, where, why and what to do, in one line?

use std::fmt;

use nix::errno::Errno;

/// What callers decide on; the message is for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything that has no kind of its own.
    Other,
    /// The command line is wrong; the usage is shown with it.
    Usage,
    /// There is no container of that id.
    NoContainer,
    /// The container's process is not there any more.
    NotRunning,
    /// A state may have been written by others than the caller and root.
    Untrusted,
}

/// A failure, with its place and remedy in the message.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    /// The property of config.json that it is about.
    place: Option<Box<str>>,
}

/// What most functions here return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure without a kind.
    pub fn new(message: impl Into<String>) -> Error {
        Error::of(Kind::Other, message)
    }

    /// A failure of that kind.
    pub fn of(kind: Kind, message: impl Into<String>) -> Error {
        Error { kind, message: message.into(), place: None }
    }

    /// What callers decide on.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A failure of a property of config.json.
    pub fn at(place: &str, what: impl fmt::Display) -> Error {
        Error { kind: Kind::Other, message: format!("config.json: {place}: {what}"), place: Some(place.into()) }
    }

    /// The same, about a property that its message names.
    #[must_use]
    pub fn about(self, place: &str) -> Error {
        Error { place: Some(place.into()), ..self }
    }

    /// The property of config.json that it is about.
    #[must_use]
    pub fn place(&self) -> Option<&str> {
        self.place.as_deref()
    }

    /// The same with the place where it happened in front.
    #[must_use]
    pub fn within(self, place: impl fmt::Display) -> Error {
        Error { message: format!("{place}: {}", self.message), ..self }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Names the call and the object of a failed system call.
pub trait Context<T> {
    /// `what` is the call, and the object where there is one: `write /proc/7/uid_map`.
    ///
    /// # Errors
    /// The call's own, with its name.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

/// The text with control characters escaped: what others have written must not reach a terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// The kernel's name of an error and, where people and engines look for them, its words.
#[must_use]
pub fn errno_text(errno: Errno) -> String {
    match errno {
        Errno::ENOENT => "no such file or directory (ENOENT)".into(),
        Errno::EACCES => "permission denied (EACCES)".into(),
        Errno::EPERM => "operation not permitted (EPERM)".into(),
        Errno::ENOTDIR => "not a directory (ENOTDIR)".into(),
        Errno::ENOEXEC => "exec format error (ENOEXEC)".into(),
        Errno::ENOSPC => "ENOSPC; no space left on the device".into(),
        Errno::EMFILE => "EMFILE; RLIMIT_NOFILE is too low for that, raise it: ulimit -n 1024".into(),
        Errno::EROFS => "EROFS; the file system is read-only".into(),
        Errno::UnknownErrno => "unknown error".into(),
        errno => format!("{errno:?}"),
    }
}

impl<T> Context<T> for nix::Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|errno| Error::new(format!("{what}: {}", errno_text(errno))))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(number) => Error::new(format!("{what}: {}", errno_text(Errno::from_raw(number)))),
            None => Error::new(format!("{what}: {error}")),
        })
    }
}

impl<T> Context<T> for Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.within(what))
    }
}
