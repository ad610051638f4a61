//! How does a step say what went wrong?

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::CStr;
use core::ops::{Deref, DerefMut};

use rustix::io::Errno;

/// The call that failed, on what, and the kernel's answer.
pub(crate) struct Detail {
    pub(crate) call: &'static str,
    pub(crate) path: Vec<u8>,
    /// `None`: not the kernel refused, but we.
    pub(crate) errno: Option<Errno>,
    pub(crate) hint: Vec<u8>,
}

/// One pointer wide: the init is copied at every start, and error paths are most of it.
pub(crate) struct Error(Box<Detail>);

pub(crate) type Result<T> = core::result::Result<T, Error>;

impl Deref for Error {
    type Target = Detail;

    fn deref(&self) -> &Detail {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut Detail {
        &mut self.0
    }
}

impl Error {
    #[cold]
    #[inline(never)]
    pub(crate) fn new(call: &'static str, errno: Errno) -> Error {
        Error(Box::new(Detail { call, path: Vec::new(), errno: Some(errno), hint: Vec::new() }))
    }

    /// What the kernel did not refuse, but we do.
    #[cold]
    #[inline(never)]
    pub(crate) fn refused(call: &'static str, path: &[u8], hint: &str) -> Error {
        Error(Box::new(Detail { call, path: path.into(), errno: None, hint: hint.into() }))
    }

    /// The same with the object of the call.
    #[cold]
    #[inline(never)]
    pub(crate) fn on(mut self, path: &[u8]) -> Error {
        self.path = path.into();
        self
    }

    /// The same with a remedy or reason.
    #[cold]
    #[inline(never)]
    pub(crate) fn hint(mut self, hint: &str) -> Error {
        self.hint = hint.into();
        self
    }

    /// The same with a remedy or reason, if it is that error.
    #[cold]
    #[inline(never)]
    pub(crate) fn hint_if(self, errno: Errno, hint: &str) -> Error {
        if self.errno == Some(errno) { self.hint(hint) } else { self }
    }
}

/// Names the call of a system call's result.
pub(crate) trait Call<T> {
    fn call(self, call: &'static str) -> Result<T>;
    fn call_on(self, call: &'static str, path: &CStr) -> Result<T>;
}

#[cold]
#[inline(never)]
fn on_path(call: &'static str, path: &CStr, errno: Errno) -> Error {
    Error::new(call, errno).on(path.to_bytes())
}

impl<T> Call<T> for core::result::Result<T, Errno> {
    #[inline]
    fn call(self, call: &'static str) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(errno) => Err(Error::new(call, errno)),
        }
    }

    #[inline]
    fn call_on(self, call: &'static str, path: &CStr) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(errno) => Err(on_path(call, path, errno)),
        }
    }
}
