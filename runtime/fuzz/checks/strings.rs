//! Words and small files → ids, users, signals, times, delegations, paths: no panic, and
//! what is accepted is what its rule says.

/// Panics where a check fails.
pub(crate) fn check(data: &[u8]) {
    let Some((kind, bytes)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match kind % 6 {
        0 => {
            if cleat::container::check_id(text).is_ok() {
                // A file name, whatever else it is.
                assert!(
                    !text.is_empty() && text.len() <= 255 && !text.contains(['/', '\0']) && text != "." && text != ".."
                );
            }
        }
        1 => {
            if let Ok((uid, gid)) = cleat::commands::exec::parse_user(text) {
                assert!(uid != u32::MAX && gid != Some(u32::MAX), "{text:?}");
            }
        }
        2 => {
            if let Ok(signal) = cleat::commands::kill::parse(text) {
                assert!((0..=64).contains(&signal), "{text:?}: {signal}");
            }
        }
        3 => {
            if let Ok(interval) = cleat::commands::events::parse_interval(text) {
                assert!(!interval.is_zero(), "{text:?}");
            }
        }
        4 => {
            let ranges = cleat::probe::subids::delegated(text, &(1000, "alice".into()));
            for pair in ranges.windows(2) {
                assert!(pair[0].first.saturating_add(pair[0].count) < pair[1].first, "{ranges:?}");
            }
        }
        _ => {
            let clean = cleat::sys::clean_path::clean("/base".as_ref(), text.as_ref());
            assert!(clean.is_absolute() && !clean.components().any(|part| part.as_os_str() == ".."), "{clean:?}");
            assert_eq!(cleat::sys::clean_path::clean("/".as_ref(), &clean), clean);
        }
    }
}
