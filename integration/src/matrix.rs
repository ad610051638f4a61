//! Which confining property holds in which container? The matrix, and its form as a document.
//!
//! `MATRIX.md` is what holds; the chapter `matrix` looks at containers of every combination and compares.

use std::collections::BTreeMap;
use std::fmt::Write as _;

mod ask;
mod cells;
mod judge;

pub use ask::{Asked, LIMITS, ask, base, root_of};
pub use cells::{Cell, Combination, Manager, Outcome, Place, Property, Space, User, Verb, every_cell};
pub use judge::{Seen, judge};

/// The whole of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix(pub BTreeMap<Cell, Outcome>);

const INTRODUCTION: &str = "\
# What holds where

Every property that confines a container, in every combination of who calls, the container's user namespace, what
makes the process, and who makes the cgroup. Each is looked at from inside by the chapter `matrix`, which also
compares this file (`make matrix` writes it anew): as any user with cgroupfs on any host, AppArmor's row and the
columns of systemd in the guest. An ordinary user and root in a user namespace have a delegated cgroup here.

* **A** applied: what was asked for is what holds inside.
* **C** the container's: the process joins the container, or is a hook in it, and what its config.json asked for holds
  for this process, too.
* **R** refused, with the name of the property.
* **W** a warning names the property; it may not hold. Of device rules that is so for `linux.devices` and what asks for
  devices, here a mount with the option `dev`; no other node can be used (see [Devices](../docs/devices.md)).
* **–** not concerned: an ordinary user needs a user namespace (refused by name: `linux.namespaces`); containerd, and
  with it the shim, is always run by root, of the machine or of a user namespace; without a user namespace there are
  no mappings.

One letter is for every user namespace, three are for none, a new one and a joined one. After a slash stands what is
otherwise with systemd. `exec` is the command without options, where its container asks for all of this, and with
`--user`, `--additional-gids` and `--no-new-privs` where it does not; `exec --process` and the shim's are the whole of a
process. SELinux's labels are the chapter `selinux`'s.
";

impl Matrix {
    /// The document.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = INTRODUCTION.to_owned();
        for user in User::ALL {
            let verbs: Vec<&str> = Verb::ALL.iter().map(|verb| verb.text()).collect();
            let _ = write!(text, "\n## {}\n\n| property | {} |\n|---|", user.text(), verbs.join(" | "));
            text.push_str(&"---|".repeat(verbs.len()));
            for property in Property::ALL {
                let cells: Vec<String> = Verb::ALL.iter().map(|verb| self.cell(*user, *verb, *property)).collect();
                let _ = write!(text, "\n| {} | {} |", property.text(), cells.join(" | "));
            }
            text.push('\n');
        }
        text
    }

    fn cell(&self, user: User, verb: Verb, property: Property) -> String {
        let of = |manager: Manager| {
            let letter = |space: &Space| {
                let at = (Combination { user, manager, space: *space }, verb, property);
                self.0.get(&at).map_or("?", |outcome| outcome.text())
            };
            let letters: Vec<&str> = Space::ALL.iter().map(letter).collect();
            if letters.iter().all(|letter| *letter == letters[0]) { letters[0].to_owned() } else { letters.concat() }
        };
        let (cgroupfs, systemd) = (of(Manager::Cgroupfs), of(Manager::Systemd));
        if cgroupfs == systemd { cgroupfs } else { format!("{cgroupfs} / {systemd}") }
    }

    /// Reads the document.
    ///
    /// # Errors
    /// Which line is none of its.
    pub fn of_text(text: &str) -> Result<Self, String> {
        let mut matrix = Self::default();
        let mut user = None;
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                user = User::ALL.iter().find(|user| user.text() == title);
            }
            let fields: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            let property = Property::ALL.iter().find(|property| fields.first() == Some(&property.text()));
            let (Some(user), Some(property)) = (user, property) else { continue };
            let cells = fields.get(1..).filter(|cells| cells.len() == Verb::ALL.len()).ok_or(line)?;
            for (verb, cell) in Verb::ALL.iter().zip(cells) {
                matrix.read(*user, *verb, *property, cell).ok_or_else(|| format!("{cell:?} in {line}"))?;
            }
        }
        Ok(matrix)
    }

    fn read(&mut self, user: User, verb: Verb, property: Property, cell: &str) -> Option<()> {
        let (cgroupfs, systemd) = cell.split_once(" / ").unwrap_or((cell, cell));
        for (manager, letters) in [(Manager::Cgroupfs, cgroupfs), (Manager::Systemd, systemd)] {
            let letters: Vec<String> = letters.chars().map(String::from).collect();
            for (index, space) in Space::ALL.iter().enumerate() {
                let letter = if letters.len() == 1 { letters.first()? } else { letters.get(index)? };
                if letter != "?" {
                    let outcome = Outcome::ALL.iter().find(|outcome| outcome.text() == letter)?;
                    self.0.insert((Combination { user, manager, space: *space }, verb, property), *outcome);
                }
            }
        }
        Some(())
    }

    /// The places of which nothing is known.
    #[must_use]
    pub fn empty_cells(&self) -> Vec<Cell> {
        every_cell().filter(|cell| !self.0.contains_key(cell)).collect()
    }
}
