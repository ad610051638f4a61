//! Profiles and calls that nobody would think of, from a seed that is printed when something is wrong.

use cleat::plan::seccomp::reference::SystemCall;
use cleat::plan::seccomp::{ACTIONS, Arch, Family, OPERATORS, calls};
use serde_json::{Value, json};

/// splitmix64: any seed is as good as another, and the same seed gives the same numbers for ever.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `end`, without it.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub(crate) fn percent(&mut self, share: u64) -> bool {
        self.next() % 100 < share
    }

    pub(crate) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// A value as conditions have: small, a border of 32 or 64 bits, with a high half, or any.
    pub(crate) fn value(&mut self) -> u64 {
        const BORDERS: [u64; 9] =
            [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 32, (1 << 32) + 1, 1 << 63, u64::MAX];
        match self.below(6) {
            0 => self.pick(&BORDERS),
            1 | 2 => self.next() % 24,
            3 => self.next() & 0xffff_ffff,
            4 => ((self.next() % 3) << 32) + self.next() % 5,
            _ => self.next(),
        }
    }
}

/// What profiles are made of.
pub(crate) struct Taste<'a> {
    /// Calls that are named.
    pub(crate) names: &'a [&'static str],
    /// Architectures that may be asked for.
    pub(crate) architectures: &'a [&'a str],
    /// Most rules.
    pub(crate) rules: usize,
    /// Values have no high half.
    pub(crate) narrow: bool,
}

impl<'a> Taste<'a> {
    pub(crate) fn all(names: &'a [&'static str], architectures: &'a [&'a str]) -> Self {
        Taste { names, architectures, rules: 40, narrow: false }
    }
}

/// `linux.seccomp` as in a config.json, of anything that is valid.
pub(crate) fn profile(random: &mut Random, taste: &Taste<'_>) -> Value {
    let architectures: Vec<_> = taste.architectures.iter().filter(|_| random.percent(60)).collect();
    let default = loop {
        let default = action(random);
        if default.0 != "SCMP_ACT_NOTIFY" {
            break default;
        }
    };
    // Many small profiles, some large ones.
    let most = if random.percent(90) { taste.rules.min(12) } else { taste.rules };
    let rules: Vec<Value> = (0..random.below(most + 1)).map(|_| rule(random, taste)).collect();
    let mut profile = json!({ "defaultAction": default.0, "architectures": architectures, "syscalls": rules });
    if let Some(number) = default.1 {
        profile["defaultErrnoRet"] = json!(number);
    }
    profile
}

/// A word, and a number where it may have one.
pub(crate) fn action(random: &mut Random) -> (&'static str, Option<u32>) {
    let (word, _) = random.pick(ACTIONS);
    let numbered = matches!(word, "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE") && random.percent(70);
    (word, numbered.then(|| random.pick(&[0, 1, 2, 38, 4094])))
}

fn rule(random: &mut Random, taste: &Taste<'_>) -> Value {
    let count = if random.percent(5) { 200 } else { 1 + random.below(6) };
    let names: Vec<_> = (0..count).map(|_| random.pick(taste.names)).collect();
    let (word, number) = action(random);
    let mut rule = json!({ "names": names, "action": word });
    if let Some(number) = number {
        rule["errnoRet"] = json!(number);
    }
    if random.percent(60) {
        rule["args"] = conditions(random, taste.narrow);
    }
    rule
}

/// One to six conditions; sometimes two are on one argument.
pub(crate) fn conditions(random: &mut Random, narrow: bool) -> Value {
    let duplicates = random.percent(15);
    let mut free: Vec<usize> = (0..6).collect();
    let most = if random.percent(30) { 6 } else { 2 };
    let count = 1 + random.below(most);
    let one = |random: &mut Random, index: usize| {
        let mut value = || if narrow { random.value() & 0xffff_ffff } else { random.value() };
        let (one, two) = (value(), value());
        let (op, _) = random.pick(OPERATORS);
        // Bits beside the mask never match: mostly there are none.
        let two = if random.percent(80) { two & one } else { two };
        json!({ "index": index, "value": one, "valueTwo": two, "op": op })
    };
    (0..count)
        .map(|_| {
            let index = if duplicates { random.below(6) } else { free.remove(random.below(free.len())) };
            one(random, index)
        })
        .collect()
}

/// Where calls of a profile are interesting.
pub(crate) struct Edges {
    family: Family,
    numbers: Vec<u32>,
    values: Vec<u64>,
}

impl Edges {
    pub(crate) fn of(profile: &Value, family: Family) -> Self {
        let rules = || profile["syscalls"].as_array().unwrap().iter();
        let names = rules().flat_map(|rule| rule["names"].as_array().unwrap()).filter_map(Value::as_str);
        let mut numbers = vec![0, 0x3fff_ffff, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xc000_0000, u32::MAX];
        numbers.extend([0x0e_ffff, 0x0f_0000, 0x0f_0007]);
        let multiplexers = ["socketcall", "ipc"];
        for name in names.chain(multiplexers) {
            numbers.extend(family.architectures().iter().filter_map(|(_, arch)| arch.number_of(name)));
        }
        // Its highest calls, which decide what is newer.
        let last = |arch: &Arch| {
            let named = rules().flat_map(|rule| rule["names"].as_array().unwrap()).filter_map(Value::as_str);
            named.filter_map(|name| arch.number_of(name)).filter(|number| number & 0x0f_0000 == 0).max()
        };
        for (_, arch) in family.architectures() {
            numbers.extend(last(arch).map(|number| [number; 4]).into_iter().flatten());
        }
        let conditions = rules().filter_map(|rule| rule["args"].as_array()).flatten();
        let values = conditions.flat_map(|arg| [&arg["value"], &arg["valueTwo"]]).filter_map(Value::as_u64);
        Self { family, numbers, values: values.chain(0..22).collect() }
    }

    /// A call at an edge, or beside it.
    pub(crate) fn call(&self, random: &mut Random) -> SystemCall {
        let audit = if random.percent(3) {
            random.pick(&[0xc000_003e, 0x4000_0003, 0xc000_00b7, 0x4000_0028, 0x8000_0015])
        } else {
            random.pick(self.family.architectures()).1.audit()
        };
        let number = random.pick(&self.numbers);
        let number = match random.below(6) {
            0 => number.wrapping_sub(1),
            1 => number.wrapping_add(1),
            2 if random.percent(10) => u32::try_from(random.next() >> 32).unwrap(),
            3 if audit == Arch::X32.audit() => number ^ 0x4000_0000,
            _ => number,
        };
        let arguments = std::array::from_fn(|_| self.argument(random));
        SystemCall { audit, number, arguments }
    }

    fn argument(&self, random: &mut Random) -> u64 {
        let value = random.pick(&self.values);
        match random.below(9) {
            0 => value.wrapping_sub(1),
            1 => value.wrapping_add(1),
            2 => value & 0xffff_ffff,
            3 => value ^ (1 << 32),
            4 => value ^ (1 << random.below(64)),
            5 => random.value(),
            _ => value,
        }
    }
}

/// Every call that is known, and names that no kernel has.
pub(crate) fn all_names() -> Vec<&'static str> {
    let mut names: Vec<&'static str> = calls().collect();
    names.extend(["a_call_of_tomorrow", "", "READ", "read "]);
    // The special ones often: many calls in one, and those private to ARM.
    for _ in 0..8 {
        names.extend(["socket", "accept", "sendmsg", "recvmmsg", "sendmmsg", "shmat", "semop", "semtimedop", "msgget"]);
        names.extend(["socketcall", "ipc", "cacheflush", "set_tls", "breakpoint", "read", "landlock_restrict_self"]);
    }
    names
}
