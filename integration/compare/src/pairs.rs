//! The fewest combinations in which every two values of different properties meet.

use std::collections::BTreeSet;

/// Two values of different properties, each as (property, value).
type Pair = ((usize, usize), (usize, usize));

/// Rows, each with the index of one value for every property; `sizes` are the numbers of values. `never` says which
/// two values must not meet. The same input gives the same rows.
pub(crate) fn rows(sizes: &[usize], never: &dyn Fn((usize, usize), (usize, usize)) -> bool) -> Vec<Vec<usize>> {
    let mut missing: BTreeSet<Pair> = BTreeSet::new();
    for a in 0..sizes.len() {
        for b in a + 1..sizes.len() {
            for (x, y) in product(&[size(sizes, a), size(sizes, b)]).iter().filter_map(|row| two(row)) {
                if !never((a, x), (b, y)) {
                    missing.insert(((a, x), (b, y)));
                }
            }
        }
    }
    let mut rows = Vec::new();
    while let Some(first) = missing.first().copied() {
        let Some(row) = row(sizes, &missing, first, never) else {
            missing.remove(&first);
            continue;
        };
        let before = missing.len();
        missing.retain(|(a, b)| !(row.get(a.0) == Some(&a.1) && row.get(b.0) == Some(&b.1)));
        if missing.len() == before {
            missing.remove(&first);
        }
        rows.push(row);
    }
    rows
}

fn size(sizes: &[usize], at: usize) -> usize {
    sizes.get(at).copied().unwrap_or_default()
}

fn two(row: &[usize]) -> Option<(usize, usize)> {
    Some((*row.first()?, *row.get(1)?))
}

/// A row with the pair `first`, and of every other property the value that brings most of what is missing.
fn row(
    sizes: &[usize],
    missing: &BTreeSet<Pair>,
    first: Pair,
    never: &dyn Fn((usize, usize), (usize, usize)) -> bool,
) -> Option<Vec<usize>> {
    let mut chosen: Vec<(usize, usize)> = vec![first.0, first.1];
    for property in (0..sizes.len()).filter(|p| *p != first.0.0 && *p != first.1.0) {
        let allowed = (0..size(sizes, property)).filter(|value| {
            !chosen.iter().any(|other| never(*other, (property, *value)) || never((property, *value), *other))
        });
        let brings = |value: usize| {
            let pair = |other: (usize, usize)| {
                let this = (property, value);
                if other.0 < this.0 { (other, this) } else { (this, other) }
            };
            chosen.iter().filter(|other| missing.contains(&pair(**other))).count()
        };
        // Of equals the first: the plainest.
        let best =
            allowed.map(|value| (brings(value), value)).max_by_key(|(count, value)| (*count, usize::MAX - value))?;
        chosen.push((property, best.1));
    }
    chosen.sort_unstable();
    Some(chosen.into_iter().map(|(_, value)| value).collect())
}

/// All combinations.
pub(crate) fn product(sizes: &[usize]) -> Vec<Vec<usize>> {
    let mut rows = vec![Vec::new()];
    for size in sizes {
        rows = rows
            .into_iter()
            .flat_map(|row: Vec<usize>| {
                (0..*size).map(move |value| row.iter().copied().chain([value]).collect::<Vec<usize>>())
            })
            .collect();
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::{product, rows};

    #[test]
    fn every_two_values_meet() {
        let sizes = [3, 4, 2, 5];
        let found = rows(&sizes, &|_, _| false);
        assert!(found.len() < 40, "{} rows of {}", found.len(), product(&sizes).len());
        for a in 0..4 {
            for b in a + 1..4 {
                for x in 0..sizes[a] {
                    for y in 0..sizes[b] {
                        assert!(found.iter().any(|row| row[a] == x && row[b] == y), "{a}={x} never meets {b}={y}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_must_not_meet_never_does() {
        let never = |a: (usize, usize), b: (usize, usize)| (a, b) == ((0, 1), (2, 1)) || (b, a) == ((0, 1), (2, 1));
        let found = rows(&[2, 3, 2], &never);
        assert!(!found.iter().any(|row| row[0] == 1 && row[2] == 1), "{found:?}");
    }
}
