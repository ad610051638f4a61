//! What has the audit found? Pure.

use std::fmt::Display;

use serde::Serialize;

/// The answer.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The container.
    pub id: String,
    /// Its first process.
    pub pid: i32,
    /// `created`, `running` or `paused`.
    pub status: &'static str,
    /// The processes that were looked at.
    pub processes: Vec<i32>,
    /// There is no difference.
    pub passes: bool,
    /// What is not as it was asked for.
    pub differences: Vec<Difference>,
    /// What is not as it was asked for, and what the container may have changed itself.
    pub own_right: Vec<Difference>,
    /// What could not be compared.
    pub not_checked: Vec<NotChecked>,
    /// Properties that were compared, and hold.
    pub checked: Vec<String>,
}

/// Something that is not as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The property of config.json.
    pub place: String,
    /// The process, or the thread, where it is one's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// What was asked for.
    pub asked: String,
    /// What is.
    pub found: String,
    /// Why it need not be wrong.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'static str,
}

/// Something that could not be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotChecked {
    /// The property of config.json.
    pub place: String,
    /// Why.
    pub why: String,
}

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is as asked, or less.
    Holds,
    /// It is more, and that need not be wrong: why.
    Own(&'static str),
    /// It is more than asked.
    Differs,
}

impl Verdict {
    /// For what is not as it was asked for: whose work is it?
    pub(super) fn unless(own: bool, why: &'static str) -> Verdict {
        if own { Verdict::Own(why) } else { Verdict::Differs }
    }
}

impl Report {
    /// Notes the outcome of a comparison.
    #[inline(never)]
    pub(super) fn note(
        &mut self,
        place: &str,
        pid: Option<i32>,
        verdict: Verdict,
        asked: &dyn Display,
        found: &dyn Display,
    ) {
        let (list, why) = match verdict {
            Verdict::Holds => return self.holds(place),
            Verdict::Own(why) => (&mut self.own_right, why),
            Verdict::Differs => (&mut self.differences, ""),
        };
        let place = place.to_owned();
        list.push(Difference { place, pid, asked: asked.to_string(), found: found.to_string(), why });
    }

    /// A property is as it was asked for.
    #[inline(never)]
    pub(super) fn holds(&mut self, place: &str) {
        if !self.checked.iter().any(|known| known == place) {
            self.checked.push(place.to_owned());
        }
    }

    /// A property could not be compared. Said once for each reason.
    #[inline(never)]
    pub(super) fn skip(&mut self, place: &str, why: &str) {
        if !self.not_checked.iter().any(|known| known.place == place && known.why == why) {
            self.not_checked.push(NotChecked { place: place.to_owned(), why: why.to_owned() });
        }
    }

    /// What was found of one process.
    pub(super) fn take(&mut self, other: Report) {
        self.differences.extend(other.differences);
        self.own_right.extend(other.own_right);
        other.checked.iter().for_each(|place| self.holds(place));
        other.not_checked.iter().for_each(|entry| self.skip(&entry.place, &entry.why));
    }

    /// All has been compared: what holds for one process and not for another does not hold.
    pub(super) fn finish(mut self) -> Report {
        let wrong = |place: &String| {
            self.differences.iter().chain(&self.own_right).any(|difference| difference.place == *place)
        };
        let mut held = std::mem::take(&mut self.checked);
        held.retain(|place| !wrong(place));
        self.checked = held;
        self.passes = self.differences.is_empty();
        self
    }
}
