//! What is wrong with a bundle, and what only cannot be had?

use crate::error::{Error, Result};

/// Everything that the decisions found. They go on after a problem, with nothing in its place:
/// `create` reports the first one, `check` all of them.
#[derive(Debug, Default)]
pub struct Findings {
    /// The bundle cannot run.
    pub problems: Vec<Error>,
    /// It can, without something that it asks for.
    pub warnings: Vec<String>,
}

impl Findings {
    /// Keeps the value, or the problem and nothing as the value.
    pub(crate) fn keep<T: Default>(&mut self, result: Result<T>) -> T {
        result.unwrap_or_else(|problem| {
            self.problems.push(problem);
            T::default()
        })
    }

    /// Decides each element of a list; those with a problem are left out.
    pub(crate) fn each<'a, T, U>(
        &mut self,
        list: &'a [T],
        mut decide: impl FnMut(usize, &'a T) -> Result<U>,
    ) -> Vec<U> {
        let decided = list.iter().enumerate().map(|(index, item)| decide(index, item));
        decided.filter_map(|result| result.map_err(|problem| self.problems.push(problem)).ok()).collect()
    }

    /// The warnings, when there is no problem.
    ///
    /// # Errors
    /// The first problem.
    pub fn warnings(self) -> Result<Vec<String>> {
        match self.problems.into_iter().next() {
            Some(first) => Err(first),
            None => Ok(self.warnings),
        }
    }
}
