//! Which numbers does a list such as `0-3,7` name? Processors and memory nodes are listed so.

use super::place::Place;
use crate::error::Result;

/// The highest number that is taken: far above what any kernel supports, so that a slip of the
/// keyboard does not ask for a mask of gigabytes.
const HIGHEST: u32 = 65_535;

/// A bit for each number that `text` lists, 64 to a word; empty for an empty list.
///
/// Blanks around a part and empty parts are accepted, as the kernel and runc do.
///
/// # Errors
/// What is no number or range, a range that runs backwards, a number above 65535; commas alone.
pub(crate) fn mask(text: &str, place: &Place) -> Result<Vec<u64>> {
    let mut words: Vec<u64> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first, text, place)?, number(last, text, place)?);
        if first > last {
            return Err(place.error(format_args!("{text:?}: the range {part:?} runs backwards")));
        }
        let needed = last / 64 + 1;
        words.resize(words.len().max(needed), 0);
        (first..=last).for_each(|n| words[n / 64] |= 1 << (n % 64));
    }
    if words.is_empty() && !text.is_empty() {
        return Err(place.error(format_args!("{text:?} names no number")));
    }
    Ok(words)
}

fn number(digits: &str, text: &str, place: &Place) -> Result<usize> {
    let parsed = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u32>());
    match parsed {
        Some(Ok(number)) if number <= HIGHEST => usize::try_from(number).map_err(|error| place.error(error)),
        Some(_) if !digits.is_empty() => {
            Err(place.error(format_args!("{text:?}: {digits} is above {HIGHEST}, the highest number there can be")))
        }
        _ => Err(place.error(format_args!("{text:?}: {digits:?} is no number")).remedy("a list looks like \"0-3,7\"")),
    }
}

/// The numbers of a mask as a list, for people.
pub(super) fn list(words: &[u64]) -> String {
    let is_set = |n: usize| words.get(n / 64).is_some_and(|word| word >> (n % 64) & 1 == 1);
    let mut parts = Vec::new();
    let mut at = 0;
    while at < words.len() * 64 {
        let first = at;
        while is_set(at) {
            at += 1;
        }
        match at - first {
            0 => at += 1,
            1 => parts.push(first.to_string()),
            _ => parts.push(format!("{first}-{}", at - 1)),
        }
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<Vec<u64>, String> {
        mask(text, &Place::new("here".into())).map_err(|error| error.to_string())
    }

    #[test]
    fn a_list_is_the_bits_it_names() {
        assert_eq!(read("0-3,7").unwrap(), [0b1000_1111]);
        assert_eq!(read(" 1 , 64,").unwrap(), [2, 1]);
        assert_eq!(read("").unwrap(), [0; 0]);
        let wide = read("1024,4095,65535").unwrap();
        assert_eq!((wide.len(), wide[16], wide[63], wide[1023]), (1024, 1, 1 << 63, 1 << 63));
    }

    #[test]
    fn what_is_no_list_is_reported_with_its_place() {
        for (text, expected) in [
            ("a", "here: \"a\": \"a\" is no number; a list looks like \"0-3,7\""),
            ("1-", "here: \"1-\": \"\" is no number"),
            ("-1", "here: \"-1\": \"\" is no number"),
            ("1-2-3", "here: \"1-2-3\": \"2-3\" is no number"),
            ("+1", "here: \"+1\": \"+1\" is no number"),
            ("0x1", "\"0x1\" is no number"),
            ("1 2", "\"1 2\" is no number"),
            ("3-1", "here: \"3-1\": the range \"3-1\" runs backwards"),
            ("65536", "65536 is above 65535"),
            ("0-4294967296", "4294967296 is above 65535"),
            ("99999999999999999999999", "99999999999999999999999 is above 65535"),
            (",", "here: \",\" names no number"),
            (" ", "names no number"),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.starts_with("config.json: ") && error.contains(expected), "{text:?}: {error}");
        }
    }

    /// A small generator of test cases: xorshift64, always the same numbers.
    struct Random(u64);

    impl Random {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % limit
        }
    }

    /// For any set: written as ranges in any order, it is read as itself; and `list` is the inverse.
    #[test]
    fn whatever_is_written_is_read_again() {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for round in 0..500 {
            let mut expected = std::collections::BTreeSet::new();
            let mut parts = Vec::new();
            for _ in 0..=random.below(8) {
                let first = random.below(if round % 2 == 0 { 200 } else { 65_000 });
                let last = first + random.below(100).min(65_535 - first);
                parts.push(if first == last { first.to_string() } else { format!("{first}-{last}") });
                expected.extend(first..=last);
            }
            let text = parts.join(",");
            let words = read(&text).unwrap();
            let seen: std::collections::BTreeSet<u64> = (0..65_536)
                .filter(|n| words.get(usize::try_from(n / 64).unwrap()).is_some_and(|word| word >> (n % 64) & 1 == 1))
                .collect();
            assert_eq!(seen, expected, "{text}");
            assert_eq!(read(&list(&words)).unwrap(), words, "{text} became {}", list(&words));
        }
    }

    /// Any text at all: an answer or an error, never a crash, and never a mask over 8 KiB.
    #[test]
    fn garbage_is_never_a_crash() {
        let alphabet: Vec<char> = "0123456789-, +x\u{e4}\t9999".chars().collect();
        let mut random = Random(42);
        for _ in 0..5000 {
            let length = random.below(12);
            let text: String =
                (0..length).map(|_| alphabet[usize::try_from(random.below(alphabet.len() as u64)).unwrap()]).collect();
            if let Ok(words) = read(&text) {
                assert!(words.len() <= 1024, "{text:?}");
                assert!(words.last() != Some(&0), "{text:?}: a word for nothing");
            }
        }
    }
}
