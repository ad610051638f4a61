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
    /// Something that is to be mounted is not there.
    NoSource,
}

/// A failure: where, what, and what to do about it.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    /// What was being done, outermost first, each with a colon.
    within: String,
    /// The file that says what cannot be had, mostly config.json.
    file: Option<Box<str>>,
    /// The property of that file.
    place: Option<Box<str>>,
    problem: String,
    remedy: Option<Box<str>>,
}

/// What most functions here return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure without a kind.
    pub fn new(problem: impl Into<String>) -> Error {
        Error::of(Kind::Other, problem)
    }

    /// A failure of that kind.
    pub fn of(kind: Kind, problem: impl Into<String>) -> Error {
        Error { kind, within: String::new(), file: None, place: None, problem: problem.into(), remedy: None }
    }

    /// What callers decide on.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// A failure of a property of config.json.
    pub fn at(place: &str, problem: impl fmt::Display) -> Error {
        Error::new(problem.to_string()).in_file("config.json", place)
    }

    /// The same, of a property of a file, or with an empty place of the file as a whole.
    #[must_use]
    pub fn in_file(self, file: &str, place: &str) -> Error {
        Error { file: Some(file.into()), place: Some(place.into()).filter(|_| !place.is_empty()), ..self }
    }

    /// The same with what to do about it.
    #[must_use]
    pub fn remedy(self, remedy: impl fmt::Display) -> Error {
        Error { remedy: Some(remedy.to_string().into()), ..self }
    }

    /// The same of that kind.
    #[must_use]
    pub fn with_kind(self, kind: Kind) -> Error {
        Error { kind, ..self }
    }

    /// The same with what was being done in front.
    #[must_use]
    pub fn within(self, what: impl fmt::Display) -> Error {
        Error { within: format!("{what}: {}", self.within), ..self }
    }

    /// The place of config.json, what is wrong, and what to do, if that is known.
    #[must_use]
    pub fn parts(&self) -> (&str, String, Option<&str>) {
        let problem = format!("{}{}", self.within, self.problem);
        (self.place.as_deref().unwrap_or_default(), problem, self.remedy.as_deref())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.within)?;
        for part in [&self.file, &self.place].into_iter().flatten() {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.problem)?;
        self.remedy.iter().try_for_each(|remedy| write!(f, "; {remedy}"))
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

/// The word that was meant by one that is not known: the only one, or the first, that few letters make of it.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = word.chars().count().div_ceil(3).min(2);
    let near = known.into_iter().map(|other| (distance(word, other), other)).filter(|(far, _)| *far <= allowed);
    near.min_by_key(|(far, _)| *far).map(|(_, other)| other)
}

/// How many letters are put in, left out, replaced or exchanged with the next.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // Rows of the table of distances: of what begins with the first letters of both.
    let (mut before, mut last): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=other.len()).collect());
    for (i, a) in one.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in other.iter().enumerate() {
            let mut far = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && one[i - 1] == *b && other[j - 1] == *a {
                far = far.min(before[j - 1] + 1);
            }
            row.push(far);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

/// The kernel's name of an error and, where people and engines look for them, its words.
#[must_use]
pub fn errno_text(errno: Errno) -> String {
    let name = errno_name(errno);
    errno_hint(errno).map_or_else(|| name.clone(), |hint| format!("{name}; {hint}"))
}

fn errno_name(errno: Errno) -> String {
    match errno {
        Errno::ENOENT => "no such file or directory (ENOENT)".into(),
        Errno::EACCES => "permission denied (EACCES)".into(),
        Errno::EPERM => "operation not permitted (EPERM)".into(),
        Errno::ENOTDIR => "not a directory (ENOTDIR)".into(),
        Errno::ENOEXEC => "exec format error (ENOEXEC)".into(),
        Errno::UnknownErrno => "unknown error".into(),
        errno => format!("{errno:?}"),
    }
}

/// What one is to make of it.
fn errno_hint(errno: Errno) -> Option<&'static str> {
    match errno {
        Errno::ENOSPC => Some("no space left on the device"),
        Errno::EMFILE => Some("RLIMIT_NOFILE is too low for that, raise it: ulimit -n 1024"),
        Errno::EROFS => Some("the file system is read-only"),
        _ => None,
    }
}

/// A call that failed.
fn of_errno(what: impl fmt::Display, errno: Errno) -> Error {
    let error = Error::new(format!("{what}: {}", errno_name(errno)));
    Error { remedy: errno_hint(errno).map(Into::into), ..error }
}

impl<T> Context<T> for nix::Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|errno| of_errno(what, errno))
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| match error.raw_os_error() {
            Some(number) => of_errno(what, Errno::from_raw(number)),
            None => Error::new(format!("{what}: {error}")),
        })
    }
}

impl<T> Context<T> for Result<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|error| error.within(what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_near_to_what_was_meant() {
        let known = ["run", "resume", "state", "start", "bundle", "hostname", "args"];
        for (word, meant) in [
            ("runn", Some("run")),
            ("bundel", Some("bundle")),
            ("hostnme", Some("hostname")),
            ("arg", Some("args")),
            ("stat", Some("state")),
            ("images", None),
            ("ls", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn an_error_is_one_line_of_its_parts() {
        let error = Error::at("linux.sysctl[\"a; b\"]", "is wrong: very; so").remedy("remove it; or not");
        assert_eq!(error.parts(), ("linux.sysctl[\"a; b\"]", "is wrong: very; so".into(), Some("remove it; or not")));
        let text = "create web: config.json: linux.sysctl[\"a; b\"]: is wrong: very; so; remove it; or not";
        assert_eq!(error.within("create web").to_string(), text);
        let error = Err::<(), _>(Errno::EROFS).context("open /x").unwrap_err();
        assert_eq!(error.parts(), ("", "open /x: EROFS".into(), Some("the file system is read-only")));
        assert_eq!(Error::new("bad JSON").in_file("config.json", "").to_string(), "config.json: bad JSON");
    }
}
