//! How does a runtime make a container?

use serde_json::Value;

use crate::bundle::Bundle;
use crate::call::{Call, Outcome, Running};
use crate::container::Container;
use crate::runtime::Runtime;
use crate::temp::unique_name;

impl Runtime {
    /// `create`, with the container's stdout and stderr in files.
    ///
    /// # Panics
    /// When it fails; says what was seen.
    #[must_use]
    pub fn create(&self, bundle: &Bundle) -> Container<'_> {
        self.create_with(bundle, |call| call)
    }

    /// `create`, with more arguments or environment.
    ///
    /// # Panics
    /// When it fails; says what was seen.
    #[must_use]
    pub fn create_with(&self, bundle: &Bundle, more: impl FnOnce(Call) -> Call) -> Container<'_> {
        self.try_create_with(bundle, more).unwrap_or_else(|outcome| panic!("expected success of {outcome}"))
    }

    /// `create`.
    ///
    /// # Errors
    /// How it failed.
    pub fn try_create(&self, bundle: &Bundle) -> Result<Container<'_>, Outcome> {
        self.try_create_with(bundle, |call| call)
    }

    /// `create`, with more arguments or environment.
    ///
    /// # Errors
    /// How it failed.
    pub fn try_create_with(&self, bundle: &Bundle, more: impl FnOnce(Call) -> Call) -> Result<Container<'_>, Outcome> {
        self.try_leave(bundle, &["create"], more)
    }

    /// `run --detach`.
    ///
    /// # Errors
    /// How it failed.
    pub fn try_run_detached(&self, bundle: &Bundle) -> Result<Container<'_>, Outcome> {
        self.try_leave(bundle, &["run", "--detach"], |call| call)
    }

    /// `restore --detach` from these images.
    ///
    /// # Errors
    /// How it failed.
    ///
    /// # Panics
    /// When the images' path is no text.
    pub fn try_restore(
        &self,
        bundle: &Bundle,
        images: &std::path::Path,
        more: impl FnOnce(Call) -> Call,
    ) -> Result<Container<'_>, Outcome> {
        let images = images.to_str().expect("a path of the test's");
        self.try_leave(bundle, &["restore", "--detach", "--image-path", images], more)
    }

    /// A command that leaves a container behind.
    fn try_leave(
        &self,
        bundle: &Bundle,
        words: &[&str],
        more: impl FnOnce(Call) -> Call,
    ) -> Result<Container<'_>, Outcome> {
        let mut container = Container::new(self, unique_name());
        let pid_file = self.dir().join(format!("{}.pid", container.id()));
        let call = self.call(words).arg("--bundle").arg(bundle.path()).arg("--pid-file").arg(&pid_file);
        let running = more(call).arg(container.id()).spawn();
        container.output_of(&running);
        let outcome = running.outcome();
        if !outcome.succeeded() {
            return Err(outcome);
        }
        container.created(&pid_file);
        Ok(container)
    }

    /// `create` and `start`.
    ///
    /// # Panics
    /// When either fails; says what was seen.
    #[must_use]
    pub fn start(&self, bundle: &Bundle) -> Container<'_> {
        let container = self.create(bundle);
        container.start();
        container
    }

    /// `create` and `start` of a container that says "ready" and stays.
    ///
    /// # Panics
    /// When either fails; says what was seen.
    #[must_use]
    pub fn start_ready(&self, bundle: &Bundle) -> Container<'_> {
        let container = self.start(bundle);
        container.wait_for_line("ready");
        container
    }

    /// `run` in the foreground, to its end.
    #[must_use]
    pub fn run(&self, bundle: &Bundle) -> Outcome {
        self.run_with(bundle, |call| call)
    }

    /// `run` in the foreground with more arguments or environment, to its end.
    #[must_use]
    pub fn run_with(&self, bundle: &Bundle, more: impl FnOnce(Call) -> Call) -> Outcome {
        // Dropped at the end: what a failed run leaves must not fail other tests.
        let container = Container::new(self, unique_name());
        let call = self.call(["run", "--bundle"]).arg(bundle.path());
        more(call).arg(container.id()).outcome()
    }

    /// `run` in the foreground, under way; the container has the id of the answer.
    #[must_use]
    pub fn spawn_run(&self, bundle: &Bundle, more: impl FnOnce(Call) -> Call) -> (Container<'_>, Running) {
        let mut container = Container::new(self, unique_name());
        let call = self.call(["run", "--bundle"]).arg(bundle.path());
        let running = more(call).arg(container.id()).spawn();
        container.output_of(&running);
        (container, running)
    }

    /// What the probe, run to its end as the container's process, says.
    ///
    /// # Panics
    /// When the run fails or prints no JSON; says what was seen.
    #[must_use]
    pub fn json(&self, bundle: &Bundle) -> Value {
        self.run(bundle).json()
    }

    /// The container `id`, made in another way; deleted with the value.
    #[must_use]
    pub fn container(&self, id: &str) -> Container<'_> {
        Container::new(self, id.to_owned())
    }

    /// `state ID` as JSON, if there is such a container.
    #[must_use]
    pub fn state(&self, id: &str) -> Option<Value> {
        let outcome = self.call(["state", id]).outcome();
        outcome.succeeded().then(|| outcome.json())
    }
}
