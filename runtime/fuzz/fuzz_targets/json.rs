//! Changes to JSON documents that leave them JSON: values trade places, or become what programs
//! trip over.

use serde_json::{Map, Number, Value, json};

/// Property names and values that mean something.
const WORDS: &[&str] = &include!("json_words.in");

/// splitmix64
pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or(0)
    }
}

/// A mutator for libFuzzer: mostly of the document's tree, sometimes of its bytes.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(seed.into());
    let document = serde_json::from_slice::<Value>(&data[..size]);
    let Some(mut document) = document.ok().filter(|_| random.below(8) > 0) else {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    };
    for _ in 0..=random.below(4) {
        change(&mut document, &mut random);
    }
    let text = document.to_string();
    if text.len() > max_size {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    data[..text.len()].copy_from_slice(text.as_bytes());
    text.len()
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(map) => map.values().map(count).sum(),
        Value::Array(list) => list.iter().map(count).sum(),
        _ => 0,
    }
}

/// The value of that number, counted from the root down.
fn nth<'a>(value: &'a mut Value, at: &mut usize) -> Option<&'a mut Value> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Value::Object(map) => map.values_mut().find_map(|value| nth(value, at)),
        Value::Array(list) => list.iter_mut().find_map(|value| nth(value, at)),
        _ => None,
    }
}

fn pick(document: &mut Value, random: &mut Random) -> Value {
    let mut at = random.below(count(document));
    nth(document, &mut at).cloned().unwrap_or_default()
}

fn change(document: &mut Value, random: &mut Random) {
    let other = pick(document, random);
    let mut at = random.below(count(document));
    let Some(value) = nth(document, &mut at) else { return };
    match (random.below(8), value) {
        (0, value) => *value = other,
        (1 | 2, value) => *value = odd(random),
        (3, Value::Array(list)) => list.push(other),
        (4, Value::Array(list)) if !list.is_empty() => {
            let at = random.below(list.len());
            let twice = list[at].clone();
            if random.below(2) == 0 { list.insert(at, twice) } else { drop(list.remove(at)) }
        }
        (3, Value::Object(map)) => {
            let word = WORDS[random.below(WORDS.len())];
            map.insert(word.to_owned(), other);
        }
        (4, Value::Object(map)) => {
            let key = map.keys().nth(random.below(map.len())).cloned();
            key.and_then(|key| map.remove(&key));
        }
        (5, Value::String(text)) => {
            let at = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).nth(random.below(text.len() + 1));
            text.insert_str(at.unwrap_or(0), ["/", "..", "=", ":", "\0", "%d", ",", "-", " ", "é"][random.below(10)]);
        }
        (6, Value::Number(number)) => *number = near(number, random),
        (_, value) => *value = odd(random),
    }
}

fn near(number: &Number, random: &mut Random) -> Number {
    let by = [1, -1, 1 << 31, 1 << 32, i64::MAX, i64::MIN][random.below(6)];
    number.as_i64().map_or_else(|| by.into(), |n| n.wrapping_add(by).into())
}

fn odd(random: &mut Random) -> Value {
    match random.below(20) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(false),
        3 => json!([]),
        4 => Value::Object(Map::new()),
        5 => json!(""),
        6 => json!(u64::MAX),
        7 => json!(i64::MIN),
        8 => json!(u32::MAX),
        9 => json!(0),
        10 => json!(1.5e300),
        11 => json!("/"),
        12 => json!("0-3,7"),
        13 => json!("x".repeat(random.below(300))),
        _ => json!(WORDS[random.below(WORDS.len())]),
    }
}
