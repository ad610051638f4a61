//! How are the tests of a program found, run and counted?
//!
//! A program of tests is a folder of `integration/tests`. Its `main.rs` names the chapters, which are modules:
//!
//! ```ignore
//! #[macro_use]
//! extern crate integration;
//!
//! mod mounts;
//!
//! fn main() -> std::process::ExitCode {
//!     integration::harness::main()
//! }
//! ```
//!
//! Tests are written as ever: `#[test]` is ours there ([`macro@crate::test`]). A test that cannot be run where it
//! is calls [`skip`], from whatever depth, and is counted as ignored, with the reason.
//!
//! The arguments are those of any test program (`cargo test -p integration --test runtime -- --help`), and
//! `--chapter NAME`, which may be given several times: the tests of these modules alone.
//!
//! With `CLEAT_TEST_REPORT` in the environment, a line for each test is added to that file, see [`report`].

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::process::ExitCode;
use std::thread;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::report::{self, Line, Outcome};

/// A test of this program.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// With its crate and its modules, as `module_path!` has them.
    pub path: &'static str,
    /// The function.
    pub run: fn(),
}

inventory::collect!(Test);

/// Puts a function on the list; what `#[test]` expands to.
#[doc(hidden)]
#[macro_export]
macro_rules! register {
    ($name:ident) => {
        $crate::inventory::submit! {
            $crate::harness::Test { path: concat!(module_path!(), "::", stringify!($name)), run: $name }
        }
    };
}

/// What a skipped test panics with.
struct Skipped(String);

/// Ends the test: it cannot be run here. The reason says what is missing and how to have it.
pub fn skip(reason: impl Into<String>) -> ! {
    // Not by `panic!`: nothing is printed, and nothing has failed.
    std::panic::resume_unwind(Box::new(Skipped(reason.into())))
}

/// Runs the tests that the arguments name, some at a time.
#[must_use]
pub fn main() -> ExitCode {
    run(None)
}

/// The same, one at a time: for tests that look at the whole of this process or of the host.
#[must_use]
pub fn main_one_at_a_time() -> ExitCode {
    run(Some(1))
}

fn run(threads: Option<usize>) -> ExitCode {
    let wanted = Wanted::new(std::env::args());
    let mut arguments = Arguments::from_iter(&wanted.rest);
    arguments.test_threads = threads.or(arguments.test_threads);
    arguments.filter = None;
    std::panic::set_hook(Box::new(note_panic));
    let mut tests: Vec<Test> = inventory::iter::<Test>().copied().collect();
    tests.sort_by_key(|test| test.path);
    tests.retain(|test| wanted.includes(name_of(test), arguments.exact));
    let trials = tests.into_iter().map(|test| Trial::ignorable_test(name_of(&test), move || run_one(test)));
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

/// A test's name without its crate: `rootfs::the_root_is_the_bundles_rootfs`.
fn name_of(test: &Test) -> &'static str {
    test.path.split_once("::").map_or(test.path, |(_, name)| name)
}

/// Which tests are wanted: all, or those that a chapter and a filter name.
#[derive(Debug, Default)]
struct Wanted {
    chapters: Vec<String>,
    filters: Vec<String>,
    /// All other arguments, with the program's name.
    rest: Vec<String>,
}

impl Wanted {
    /// libtest-mimic takes one filter; libtest, and we, take several.
    fn new(arguments: impl IntoIterator<Item = String>) -> Self {
        /// Options of libtest-mimic whose value is a word of its own.
        const WITH_VALUE: [&str; 6] = ["--test-threads", "--logfile", "--skip", "--color", "--format", "-Z"];
        let mut this = Self::default();
        let mut arguments = arguments.into_iter();
        this.rest.extend(arguments.next());
        while let Some(word) = arguments.next() {
            if word == "--chapter" {
                this.chapters.extend(arguments.next());
            } else if let Some(chapter) = word.strip_prefix("--chapter=") {
                this.chapters.push(chapter.to_owned());
            } else if !word.starts_with('-') {
                this.filters.push(word);
            } else {
                let value = if WITH_VALUE.contains(&word.as_str()) { arguments.next() } else { None };
                this.rest.push(word);
                this.rest.extend(value);
            }
        }
        this
    }

    fn includes(&self, name: &str, exact: bool) -> bool {
        let chapter = name.split("::").next().unwrap_or(name);
        let by_filter = |filter: &String| if exact { name == filter } else { name.contains(filter.as_str()) };
        (self.chapters.is_empty() || self.chapters.iter().any(|wanted| wanted == chapter))
            && (self.filters.is_empty() || self.filters.iter().any(by_filter))
    }
}

thread_local! {
    /// What is shown if the test of this thread fails; `None` in a thread that is no test's.
    static STORY: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Adds a line to the failure of this thread's test. Elsewhere it is said at once.
#[doc(hidden)]
pub fn add_note(line: &str) {
    let added = STORY.try_with(|story| story.borrow_mut().as_mut().map(|text| *text += &format!("{line}\n")));
    if added.is_err() || added.is_ok_and(|added| added.is_none()) {
        eprintln!("{line}");
    }
}

/// Says something, like `println!`, that is shown if the test fails.
#[macro_export]
macro_rules! note {
    ($($words:tt)*) => { $crate::harness::add_note(&format!($($words)*)) };
}

/// A test's panic is shown with its failure; one in a thread that a test has started, at once.
fn note_panic(info: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let payload = info.payload();
    let words = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let name = thread.name().unwrap_or("without a name");
    let mut text = format!("thread '{name}' panicked at {place}:\n{}", words.unwrap_or("(no words)"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        text += &format!("\n{backtrace}");
    }
    let before = STORY.try_with(|story| story.borrow().clone()).ok().flatten().unwrap_or_default();
    if before.contains("' panicked at ") {
        // One while another unwinds is the end of this process.
        eprintln!("{before}{text}");
    }
    add_note(&text);
}

/// Runs a test in a thread of its own: what it does to its thread (another user, another namespace) ends with it.
fn run_one(test: Test) -> Result<Completion, Failed> {
    let body = move || {
        STORY.set(Some(String::new()));
        std::panic::catch_unwind(test.run).map_err(|payload| (payload, STORY.take().unwrap_or_default()))
    };
    let thread = thread::Builder::new().name(name_of(&test).to_owned()).spawn(body);
    let outcome = match thread.map(thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => Outcome::Passed,
        Ok(Ok(Err((payload, text)))) => outcome_of(payload.as_ref(), text),
        Ok(Err(_)) => Outcome::Failed("its thread panicked after it".to_owned()),
        Err(error) => Outcome::Failed(format!("no thread for it: {error}")),
    };
    let (program, name) = test.path.split_once("::").unwrap_or(("", test.path));
    report::add(&Line {
        place: report::place(),
        program: program.to_owned(),
        test: name.to_owned(),
        outcome: outcome.clone(),
    });
    match outcome {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Skipped(reason) => Ok(Completion::ignored_with(reason)),
        Outcome::Failed(text) => Err(text.into()),
    }
}

fn outcome_of(payload: &(dyn Any + Send), text: String) -> Outcome {
    match payload.downcast_ref::<Skipped>() {
        Some(Skipped(reason)) => Outcome::Skipped(reason.clone()),
        None => Outcome::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &[&str]) -> Wanted {
        Wanted::new(std::iter::once("program").chain(words.iter().copied()).map(str::to_owned))
    }

    #[test]
    fn a_chapter_is_a_module_and_no_part_of_a_name() {
        let mounts = wanted(&["--chapter", "mounts", "--chapter=exec"]);
        assert!(mounts.includes("mounts::a", false) && mounts.includes("exec::a", false));
        assert!(!mounts.includes("rootless_mounts::a", false) && !mounts.includes("other::mounts", false));
    }

    #[test]
    fn one_of_several_filters_is_enough_within_the_chapters() {
        let some = wanted(&["the_root", "--test-threads", "1", "--chapter", "mounts", "-q", "flags"]);
        assert_eq!(some.rest, ["program", "--test-threads", "1", "-q"]);
        assert!(some.includes("mounts::the_root_is", false) && some.includes("mounts::flags", false));
        assert!(!some.includes("mounts::other", false) && !some.includes("exec::flags", false));
        assert!(!some.includes("mounts::flags", true) && wanted(&["mounts::flags"]).includes("mounts::flags", true));
    }

    #[test]
    fn a_skipped_test_is_no_failure() {
        let skipped = std::panic::catch_unwind(|| skip("no such device")).expect_err("it unwinds");
        assert_eq!(outcome_of(skipped.as_ref(), String::new()), Outcome::Skipped("no such device".to_owned()));
    }
}
