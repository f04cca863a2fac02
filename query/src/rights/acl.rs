//! Lists of rights: who has which from whom. Given and taken as PostgreSQL does it, with the rights
//! that hang on a grant option going with it.

use std::collections::{BTreeSet, HashSet};

/// Whose rights everybody has.
pub(crate) const PUBLIC: u32 = 0;
/// As the giver of a right: the owner, whoever that is.
pub(crate) const BY_OWNER: u32 = 0;

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Mode(u16);

/// Rights with their letters, in the order in which Postgres shows them.
const WORDS: [(char, &str, Mode); 9] = [
    ('a', "INSERT", Mode::INSERT),
    ('r', "SELECT", Mode::SELECT),
    ('w', "UPDATE", Mode::UPDATE),
    ('d', "DELETE", Mode::DELETE),
    ('D', "TRUNCATE", Mode::TRUNCATE),
    ('x', "REFERENCES", Mode::REFERENCES),
    ('t', "TRIGGER", Mode::TRIGGER),
    ('U', "USAGE", Mode::USAGE),
    ('C', "CREATE", Mode::CREATE),
];

impl Mode {
    pub(crate) const NONE: Mode = Mode(0);
    pub(crate) const INSERT: Mode = Mode(1);
    pub(crate) const SELECT: Mode = Mode(1 << 1);
    pub(crate) const UPDATE: Mode = Mode(1 << 2);
    pub(crate) const DELETE: Mode = Mode(1 << 3);
    pub(crate) const TRUNCATE: Mode = Mode(1 << 4);
    pub(crate) const REFERENCES: Mode = Mode(1 << 5);
    pub(crate) const TRIGGER: Mode = Mode(1 << 6);
    pub(crate) const USAGE: Mode = Mode(1 << 7);
    pub(crate) const CREATE: Mode = Mode(1 << 8);
    /// Those of tables and views.
    pub(crate) const OF_RELATION: Mode = Mode(0x7f);
    /// Those of columns.
    pub(crate) const OF_COLUMN: Mode =
        Mode(Mode::INSERT.0 | Mode::SELECT.0 | Mode::UPDATE.0 | Mode::REFERENCES.0);
    /// Those of schemas.
    pub(crate) const OF_SCHEMA: Mode = Mode(Mode::USAGE.0 | Mode::CREATE.0);
    /// Those that change rows.
    pub(crate) const CHANGES: Mode =
        Mode(Mode::INSERT.0 | Mode::UPDATE.0 | Mode::DELETE.0 | Mode::TRUNCATE.0);

    pub(crate) fn has(self, other: Mode) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn is_none(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub(crate) fn with(self, other: Mode) -> Mode {
        Mode(self.0 | other.0)
    }

    #[must_use]
    pub(crate) fn and(self, other: Mode) -> Mode {
        Mode(self.0 & other.0)
    }

    #[must_use]
    pub(crate) fn without(self, other: Mode) -> Mode {
        Mode(self.0 & !other.0)
    }

    /// The right of a word in upper case.
    pub(crate) fn of_word(word: &str) -> Option<Mode> {
        WORDS.iter().find(|(_, known, _)| *known == word).map(|(.., mode)| *mode)
    }

    /// Words of the rights.
    pub(crate) fn words(self) -> impl Iterator<Item = (&'static str, Mode)> {
        WORDS.iter().filter(move |(.., mode)| self.has(*mode)).map(|(_, word, mode)| (*word, *mode))
    }
}

/// What one role has from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    /// A role's number, or [`PUBLIC`].
    pub(crate) to: u32,
    /// A role's number, or [`BY_OWNER`].
    pub(crate) by: u32,
    /// A column's number; 0: the whole.
    pub(crate) column: u32,
    pub(crate) rights: Mode,
    /// Those of them that may be given on.
    pub(crate) grantable: Mode,
}

impl Item {
    /// As `pg_class.relacl` writes it: `r*w`.
    pub(crate) fn letters(&self) -> String {
        let mut out = String::new();
        for (letter, _, mode) in WORDS {
            if self.rights.has(mode) {
                out.push(letter);
                if self.grantable.has(mode) {
                    out.push('*');
                }
            }
        }
        out
    }

    /// The rights of such letters, and those that may be given on.
    pub(super) fn read_letters(letters: &str) -> Option<(Mode, Mode)> {
        let (mut rights, mut grantable, mut last) = (Mode::NONE, Mode::NONE, Mode::NONE);
        for letter in letters.chars() {
            if letter == '*' && !last.is_none() {
                grantable = grantable.with(last);
                last = Mode::NONE;
                continue;
            }
            last = WORDS.iter().find(|(known, ..)| *known == letter)?.2;
            rights = rights.with(last);
        }
        Some((rights, grantable))
    }
}

/// Why rights are not changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// What is taken was given on.
    Dependent,
    /// The right to give is handed back to one of those it comes from.
    Circular,
}

/// The owner of a thing, and what others may do with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acl {
    /// `None`: the first superuser.
    pub(crate) owner: Option<u32>,
    pub(crate) items: Vec<Item>,
}

impl Acl {
    /// What one has in a column (0: the whole), from whomever, or as everybody. `is`: the role, and
    /// those that it is a member of.
    pub(crate) fn held(&self, is: &dyn Fn(u32) -> bool, column: u32) -> Mode {
        let mine = |item: &&Item| item.column == column && (item.to == PUBLIC || is(item.to));
        self.items.iter().filter(mine).fold(Mode::NONE, |all, item| all.with(item.rights))
    }

    /// What a role may give on.
    pub(crate) fn grantable(&self, role: u32, column: u32) -> Mode {
        if role == PUBLIC {
            return Mode::NONE;
        }
        if self.owner == Some(role) {
            return Mode::OF_RELATION.with(Mode::OF_SCHEMA);
        }
        let mine = |item: &&Item| item.column == column && item.to == role;
        self.items.iter().filter(mine).fold(Mode::NONE, |all, item| all.with(item.grantable))
    }

    /// Gives rights, with the right to give them on if `option` says so.
    pub(super) fn give(
        &mut self,
        (to, by): (u32, u32),
        column: u32,
        rights: Mode,
        option: bool,
    ) -> Result<(), Refused> {
        if option && by != BY_OWNER {
            // What the giver may give must not come from the one who gets it.
            let mut without = self.clone();
            for item in without.items.iter_mut().filter(|i| i.to == to && i.column == column) {
                item.grantable = item.grantable.without(rights);
            }
            let from = |(_, mode)| without.givers(column, mode).contains(&by);
            if !rights.words().all(from) {
                return Err(Refused::Circular);
            }
        }
        let grantable = if option { rights } else { Mode::NONE };
        let same = |item: &&mut Item| (item.to, item.by, item.column) == (to, by, column);
        match self.items.iter_mut().find(same) {
            Some(item) => {
                item.rights = item.rights.with(rights);
                item.grantable = item.grantable.with(grantable);
            }
            None => self.items.push(Item { to, by, column, rights, grantable }),
        }
        Ok(())
    }

    /// Takes rights, or only the right to give them on (`option`); with `cascade` also what was
    /// given on, without it that is an error.
    pub(super) fn take(
        &mut self,
        (from, by): (u32, u32),
        column: u32,
        rights: Mode,
        (option, cascade): (bool, bool),
    ) -> Result<(), Refused> {
        let same = |item: &&mut Item| (item.to, item.by, item.column) == (from, by, column);
        let Some(item) = self.items.iter_mut().find(same) else { return Ok(()) };
        item.grantable = item.grantable.without(rights);
        if !option {
            item.rights = item.rights.without(rights);
        }
        for (_, mode) in rights.words() {
            // What is of a column may hang on a right of the whole.
            let hung = match column {
                0 => self.settle_all(mode),
                _ => self.settle(column, mode),
            };
            if hung && !cascade {
                return Err(Refused::Dependent);
            }
        }
        self.items.retain(|item| !item.rights.is_none());
        Ok(())
    }

    /// Takes a right away from all that have it from one who may not give it; whether there were
    /// any.
    fn settle(&mut self, column: u32, mode: Mode) -> bool {
        let mut any = false;
        loop {
            let givers = self.givers(column, mode);
            let hangs =
                |i: &&mut Item| i.column == column && i.rights.has(mode) && !givers.contains(&i.by);
            let mut found = false;
            for item in self.items.iter_mut().filter(hangs) {
                item.rights = item.rights.without(mode);
                item.grantable = item.grantable.without(mode);
                found = true;
            }
            if !found {
                return any;
            }
            any = true;
        }
    }

    fn settle_all(&mut self, mode: Mode) -> bool {
        let columns: BTreeSet<u32> = self.items.iter().map(|item| item.column).collect();
        columns.into_iter().fold(false, |any, column| self.settle(column, mode) | any)
    }

    /// Who may give a right in a column on: the owner, and whoever has it so from one who may.
    fn givers(&self, column: u32, mode: Mode) -> HashSet<u32> {
        let mut known: HashSet<u32> = match column {
            0 => [BY_OWNER].into_iter().chain(self.owner).collect(),
            _ => self.givers(0, mode),
        };
        loop {
            let more: Vec<u32> = self
                .items
                .iter()
                .filter(|i| i.column == column && i.grantable.has(mode) && i.to != PUBLIC)
                .filter(|i| known.contains(&i.by) && !known.contains(&i.to))
                .map(|i| i.to)
                .collect();
            if more.is_empty() {
                return known;
            }
            known.extend(more);
        }
    }

    /// Leaves out what is of roles or columns that are gone.
    pub(super) fn tidy(&mut self, role: &dyn Fn(u32) -> bool, column: &dyn Fn(u32) -> bool) {
        self.items.retain(|item| {
            (item.to == PUBLIC || role(item.to))
                && (item.by == BY_OWNER || role(item.by))
                && (item.column == 0 || column(item.column))
        });
        for (.., mode) in WORDS {
            self.settle_all(mode);
        }
        self.items.retain(|item| !item.rights.is_none());
    }
}

#[cfg(test)]
mod tests;
