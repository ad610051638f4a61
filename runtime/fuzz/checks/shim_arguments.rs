//! Words of the shim's command line, with a zero byte between them, or its standard input → what is to be
//! done: no panic, and no name that is a path.

use containerd_shim_cleat::args::{self, Action, Args};
use containerd_shim_cleat::start;

/// Panics where a check fails.
pub(crate) fn check(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    if kind % 2 == 0 {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let words: Vec<String> = text.split('\0').map(String::from).collect();
        match args::parse(&words) {
            Ok((Action::Version | Action::Info, _)) => {}
            Ok((_, args)) => {
                for name in [&args.namespace, &args.id] {
                    assert!(!name.is_empty() && !name.contains(['/', '\0']) && name != "." && name != "..", "{name:?}");
                }
            }
            Err(text) => assert!(!text.is_empty() && !text.chars().any(char::is_control), "{text:?}"),
        }
        return;
    }
    let args = Args { id: "c1".into(), namespace: "n".into(), ..Args::default() };
    let Ok(given) = start::given(bytes, &args) else { return };
    assert!([&given.socket_dir, &given.ttrpc_address].into_iter().flatten().all(|text| !text.is_empty()), "{given:?}");
}
