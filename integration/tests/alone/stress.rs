//! Many containers, in a row and at once: no failure, nothing left behind.

#![allow(clippy::expect_used, reason = "a test fails by saying what it expected")]

use std::sync::{Mutex, MutexGuard, PoisonError};

use integration::{Bundle, Runtime, Snapshot};

/// The host is looked at as a whole: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of containers: `CLEAT_CONTAINERS`, else this.
fn count(default: usize) -> usize {
    std::env::var("CLEAT_CONTAINERS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn live_and_die(runtime: &Runtime, bundle: &Bundle) {
    let container = runtime.create(bundle);
    assert_eq!(container.status(), "created");
    container.start();
    container.wait_for_line("ready");
    let _ = container.exec(["/probe", "exit", "7"]).exits(7);
    container.kill("TERM");
    assert_eq!(container.wait(), 0);
    container.delete();
    assert_eq!(runtime.state(container.id()), None);
    assert!(!bundle.cgroup().exists(), "the cgroup is still there");
}

/// 500 containers created, started, exec'd into and deleted, one after the other.
#[test]
fn five_hundred_containers_in_a_row() {
    let _alone = alone();
    let (runtime, bundle) = (Runtime::new(), Bundle::new().args(["/probe", "sleep"]));
    live_and_die(&runtime, &bundle);
    let before = Snapshot::take(&runtime);
    for _ in 0..count(500) {
        live_and_die(&runtime, &bundle);
    }
    before.assert_again(&runtime, "after 500 in a row");
}

/// 100 containers, at once from 16 threads, on one root file system and one state root.
#[test]
fn a_hundred_containers_at_once() {
    let _alone = alone();
    let (runtime, shared) = (Runtime::new(), Bundle::new());
    live_and_die(&runtime, &Bundle::sharing_rootfs_of(&shared).args(["/probe", "sleep"]));
    let before = Snapshot::take(&runtime);
    let left = Mutex::new(count(100));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            let _ = scope.spawn(|| {
                loop {
                    {
                        let mut left = left.lock().expect("no thread has failed");
                        let Some(less) = left.checked_sub(1) else {
                            break;
                        };
                        *left = less;
                    }
                    live_and_die(&runtime, &Bundle::sharing_rootfs_of(&shared).args(["/probe", "sleep"]));
                }
            });
        }
    });
    before.assert_again(&runtime, "after 100 at once");
}

/// 100 containers alive together, made from 16 threads, then ended.
#[test]
fn a_hundred_containers_alive_together() {
    let _alone = alone();
    let (runtime, shared) = (Runtime::new(), Bundle::new());
    live_and_die(&runtime, &Bundle::sharing_rootfs_of(&shared).args(["/probe", "sleep"]));
    let before = Snapshot::take(&runtime);
    {
        let bundles: Vec<_> =
            (0..count(100)).map(|_| Bundle::sharing_rootfs_of(&shared).args(["/probe", "sleep"])).collect();
        let containers = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for part in bundles.chunks(bundles.len().div_ceil(16)) {
                let (runtime, containers) = (&runtime, &containers);
                let _ = scope.spawn(move || {
                    for bundle in part {
                        let container = runtime.start_ready(bundle);
                        containers.lock().expect("no thread has failed").push(container);
                    }
                });
            }
        });
        let containers = containers.into_inner().expect("no thread has failed");
        assert_eq!(containers.len(), bundles.len());
        let quiet = runtime.call(["list", "--quiet"]).outcome().ok().stdout;
        assert_eq!(quiet.lines().count(), bundles.len());
        for container in &containers {
            container.kill_and_delete();
        }
    }
    before.assert_again(&runtime, "after 100 together");
}
