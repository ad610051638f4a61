//! Which mounts has a process, and where have paths of a plan led?

use std::path::PathBuf;

use cleat_plan::Root;

use crate::error::{Context, Result};
use crate::sys::path::Proc;

use super::facts::ProcDir;
use super::mounts::{FileKind, PathEnd, look};

/// The mounts of a process, and where paths of a plan have led.
#[derive(Debug)]
pub struct MountPoints {
    /// Those that paths of the plan lead to, with the path.
    pub planned: Vec<(PathBuf, MountPoint)>,
    /// Targets of all, from the process's root.
    pub all: Vec<PathBuf>,
    /// Their numbers.
    pub ids: Vec<u64>,
}

/// A mount that a path leads to.
#[derive(Clone, Debug)]
pub struct MountPoint {
    /// Where it is: without the links that the path has.
    pub target: PathBuf,
    /// It is the null device.
    pub is_null: bool,
    /// It is a directory.
    pub is_directory: bool,
}

impl MountPoints {
    /// Looks at a process whose root was made by a plan.
    ///
    /// # Errors
    /// mountinfo or the root of the process cannot be read.
    pub fn of(root: &Root, pid: i32) -> Result<MountPoints> {
        let place = format!("the mounts of process {pid}");
        let proc = Proc::open()?;
        let first = ProcDir::open(&proc, pid).context(&place)?;
        let facts = look(root, &first).context(&place)?;
        let planned = facts.places.iter().filter_map(|(path, at)| {
            let PathEnd::There { mount, is_root: true, kind, .. } = at else { return None };
            let target = facts.line(*mount)?.target.clone();
            let is_directory = matches!(kind, FileKind::Directory | FileKind::EmptyDirectory);
            Some((path.clone(), MountPoint { target, is_null: *kind == FileKind::Null, is_directory }))
        });
        Ok(MountPoints {
            planned: planned.collect(),
            all: facts.lines.iter().map(|line| line.target.clone()).collect(),
            ids: facts.lines.iter().map(|line| line.id).collect(),
        })
    }
}
