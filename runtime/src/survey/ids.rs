//! Which ids are delegated to the caller, and who maps them?

use std::path::PathBuf;

use serde::Serialize;

use crate::idmap::{Range, delegated, find, user_name};

/// What is delegated to the caller.
#[derive(Debug, Default, Serialize)]
pub struct Ids {
    /// The caller's name in `/etc/passwd`, else his number.
    pub user: String,
    /// Of `/etc/subuid`.
    pub subuid: Vec<Range>,
    /// Of `/etc/subgid`.
    pub subgid: Vec<Range>,
    /// newuidmap(1), where it is in `PATH`.
    pub newuidmap: Option<PathBuf>,
    /// newgidmap(1), where it is in `PATH`.
    pub newgidmap: Option<PathBuf>,
}

impl Ids {
    pub(super) fn of_caller() -> Ids {
        let user = user_name();
        let ranges = |path| delegated(&super::read(path).unwrap_or_default(), &user);
        Ids {
            subuid: ranges("/etc/subuid"),
            subgid: ranges("/etc/subgid"),
            newuidmap: find("newuidmap"),
            newgidmap: find("newgidmap"),
            user: user.1,
        }
    }
}
