//! Random giving and taking, compared with a model that keeps single rights apart.

use super::*;
use crate::tests::harness::Random;

const OWNER: u32 = 9;
const ROLES: [u32; 5] = [PUBLIC, 1, 2, 3, 4];

/// Single grants of one right in one column: to, by, whether it may be given on.
type Edges = BTreeSet<(u32, u32, bool)>;

/// What may be given on, worked out from the owner.
fn givers(edges: &Edges) -> BTreeSet<u32> {
    let mut known = BTreeSet::from([BY_OWNER]);
    loop {
        let more: Vec<u32> = edges
            .iter()
            .filter(|(to, by, option)| *option && known.contains(by) && !known.contains(to))
            .map(|(to, ..)| *to)
            .collect();
        if more.is_empty() {
            return known;
        }
        known.extend(more);
    }
}

/// The grants that hang on nothing any more are gone.
fn settle(edges: &mut Edges) {
    loop {
        let known = givers(edges);
        let before = edges.len();
        edges.retain(|(_, by, _)| known.contains(by));
        if edges.len() == before {
            return;
        }
    }
}

fn without(edges: &Edges, to: u32, by: u32, option: bool) -> Edges {
    let mut left = edges.clone();
    let had = left.remove(&(to, by, true)) | left.remove(&(to, by, false));
    if option && had {
        left.insert((to, by, false));
    }
    left
}

#[test]
fn rights_are_those_of_a_model() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut acl = Acl { owner: Some(OWNER), items: Vec::new() };
        let mut edges = Edges::new();
        for step in 0..60 {
            let known: Vec<u32> = givers(&edges).into_iter().collect();
            let by = known[random.below(known.len() as u64) as usize];
            let to = ROLES[random.below(5) as usize];
            let option = to != PUBLIC && random.below(2) == 0;
            if random.below(3) > 0 {
                // Handing the right to give back to one it comes from is refused.
                let mut cut = edges.clone();
                cut.retain(|(of, _, option)| !(*of == to && *option));
                settle(&mut cut);
                let fine = !option || by == BY_OWNER || givers(&cut).contains(&by);
                let given = acl.give((to, by), 0, Mode::SELECT, option);
                assert_eq!(given.is_ok(), fine, "seed {seed} step {step}");
                if fine {
                    let had = edges.remove(&(to, by, false)) | edges.contains(&(to, by, true));
                    let option = option || (had && edges.contains(&(to, by, true)));
                    edges.remove(&(to, by, true));
                    edges.insert((to, by, option));
                }
            } else {
                let (only, cascade) = (random.below(2) == 0, random.below(2) == 0);
                let left = without(&edges, to, by, only);
                let mut settled = left.clone();
                settle(&mut settled);
                let fine = cascade || settled == left;
                let mut tried = acl.clone();
                let taken = tried.take((to, by), 0, Mode::SELECT, (only, cascade));
                assert_eq!(taken.is_ok(), fine, "seed {seed} step {step}");
                if fine {
                    (acl, edges) = (tried, settled);
                }
            }
            let held: BTreeSet<u32> = edges.iter().map(|(to, ..)| *to).collect();
            for role in &ROLES[1..] {
                let may = held.contains(role) || held.contains(&PUBLIC);
                assert_eq!(
                    acl.held(&|to| to == *role, 0).has(Mode::SELECT),
                    may,
                    "seed {seed} step {step}"
                );
                let gives = givers(&edges).contains(role);
                assert_eq!(acl.grantable(*role, 0).has(Mode::SELECT), gives, "seed {seed}");
                assert!(
                    acl.held(&|to| to == *role, 1).is_none()
                        && !acl.held(&|to| to == *role, 0).has(Mode::UPDATE)
                );
            }
        }
    }
}

#[test]
fn letters_read_back() {
    for bits in 0..0x200u16 {
        let (rights, grantable) = (Mode(bits), Mode(bits & 0x155));
        let item = Item { to: 1, by: 0, column: 0, rights, grantable };
        assert_eq!(Item::read_letters(&item.letters()), Some((rights, grantable)));
    }
    for bad in ["*", "r**", "z", "r w"] {
        assert_eq!(Item::read_letters(bad), None, "{bad}");
    }
}

#[test]
fn what_is_of_the_gone_goes() {
    let mut acl = Acl::default();
    for (to, by, column) in [(1, 0, 0), (2, 0, 5), (3, 1, 0), (4, 3, 0), (4, 3, 7), (PUBLIC, 0, 0)]
    {
        acl.give((to, by), column, Mode::SELECT, to != PUBLIC).unwrap();
    }
    assert!(acl.held(&|to| to == 4, 7).has(Mode::SELECT));
    acl.tidy(&|role| role != 1, &|column| column != 5);
    assert_eq!(acl.items.iter().map(|item| item.to).collect::<Vec<_>>(), [PUBLIC]);
}
