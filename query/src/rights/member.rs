//! Roles in roles: who is a member of what, and GRANT and REVOKE of roles.
//!
//! A member has the rights that its roles were granted, owns what they own, and is one of those that
//! policies are for. Attributes, settings and passwords stay each role's own.

use std::collections::{BTreeSet, HashMap};

use super::{Rights, Role, rows};
use crate::RoleInfo;
use crate::ddl::apply;
use crate::error::{QueryError, QueryResult};
use crate::session::Session;
use crate::statement::rights::OfRoles;

/// Members of one role.
const MEMBERS_MAX: usize = 1_000;

/// One who is a member of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) to: u32,
    /// The role that made it one, which may be gone.
    pub(crate) by: u32,
    /// Whether it may make others members.
    pub(crate) admin: bool,
}

/// The members of all roles.
#[derive(Debug, Default)]
pub(crate) struct Members {
    /// By role, those of each in order of their numbers.
    of: HashMap<u32, Vec<Member>>,
    /// Roles that a role is a member of, whatever is between.
    roles: HashMap<u32, BTreeSet<u32>>,
}

impl Members {
    pub(super) fn new(of: HashMap<u32, Vec<Member>>) -> Members {
        let mut above: HashMap<u32, BTreeSet<u32>> = HashMap::new();
        for (role, members) in &of {
            for member in members {
                above.entry(member.to).or_default().insert(*role);
            }
        }
        let all = above.keys().map(|role| (*role, reached(&above, *role)));
        Members { roles: all.collect(), of }
    }

    /// Whether a role is another, or a member of it.
    pub(crate) fn is_in(&self, role: u32, other: u32) -> bool {
        role == other || self.roles.get(&role).is_some_and(|roles| roles.contains(&other))
    }

    /// The roles that a role is a member of, whatever is between.
    pub(crate) fn roles(&self, role: u32) -> impl Iterator<Item = u32> {
        self.roles.get(&role).into_iter().flatten().copied()
    }

    /// Members with their role, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u32, &Member)> {
        self.of.iter().flat_map(|(role, members)| members.iter().map(|member| (*role, member)))
    }

    /// Whether a role may make others members of one.
    pub(crate) fn may_give(&self, role: u32, given: u32) -> bool {
        let members = self.of.get(&given).into_iter().flatten();
        members.filter(|member| member.admin).any(|member| self.is_in(role, member.to))
    }

    /// The roles whose members change when one is gone, with those that are left.
    pub(super) fn without(&self, gone: u32) -> Vec<(u32, Vec<Member>)> {
        let changed = self.of.iter().filter_map(|(role, members)| {
            let left: Vec<Member> = match *role == gone {
                true => Vec::new(),
                false => members.iter().filter(|member| member.to != gone).cloned().collect(),
            };
            (left != *members).then_some((*role, left))
        });
        let mut changed: Vec<(u32, Vec<Member>)> = changed.collect();
        changed.sort_by_key(|(role, _)| *role);
        changed
    }
}

/// All that is above a role. Damaged rows may have a cycle.
fn reached(above: &HashMap<u32, BTreeSet<u32>>, from: u32) -> BTreeSet<u32> {
    let (mut found, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(role) = next.pop() {
        let more = above.get(&role).into_iter().flatten();
        next.extend(more.copied().filter(|role| found.insert(*role)));
    }
    found
}

/// GRANT and REVOKE of roles.
pub(super) async fn change(session: &Session, asked: &OfRoles) -> QueryResult<()> {
    let known = session.engine().directory().roles()?;
    let find = |name: &str| {
        let found = known.iter().find(|role| role.name == name);
        found.ok_or_else(|| QueryError::new("42704", format!("role \"{name}\" does not exist")))
    };
    let rights = session.engine().rights().now(session.engine())?;
    let by = Role::from(session.identity());
    let mut of = rights.members.of.clone();
    let mut changed = BTreeSet::new();
    for name in &asked.roles {
        let role = find(name)?;
        if !by.superuser && !rights.members.may_give(by.oid, role.oid) {
            let message = format!("must have admin option on role \"{name}\"");
            return Err(QueryError::new("42501", message));
        }
        // It would own what superusers make.
        if role.superuser && !asked.revoke {
            return Err(QueryError::unsupported("a GRANT of a role that is SUPERUSER"));
        }
        for who in &asked.members {
            let member = find(who.name(&session.identity().user).unwrap_or("public"))?;
            let told = match asked.revoke {
                true => revoke(&mut of, (role, member), asked.admin),
                false => grant(&mut of, (role, member), by.oid, asked.admin)?,
            };
            match told {
                Some(told) => session.notice(told),
                None => {
                    changed.insert(role.oid);
                }
            }
        }
    }
    let put = |role: &u32| rows::put_members(*role, of.get(role).map_or(&[], Vec::as_slice));
    let changes = changed.iter().map(put).collect::<QueryResult<Vec<_>>>()?;
    match changes.is_empty() {
        true => Ok(()),
        false => apply(session, vec![rights.command(rights.next, changes)?]).await,
    }
}

type Lists = HashMap<u32, Vec<Member>>;

/// Makes one role a member of another; what is told where it is one already.
fn grant(
    of: &mut Lists,
    (role, member): (&RoleInfo, &RoleInfo),
    by: u32,
    admin: bool,
) -> QueryResult<Option<String>> {
    let (role_name, name) = (&role.name, &member.name);
    let members = of.entry(role.oid).or_default();
    if let Some(known) = members.iter_mut().find(|known| known.to == member.oid) {
        if admin && !known.admin {
            known.admin = true;
            return Ok(None);
        }
        return Ok(Some(format!("role \"{name}\" is already a member of role \"{role_name}\"")));
    }
    members.push(Member { to: member.oid, by, admin });
    members.sort_by_key(|member| member.to);
    if members.len() > MEMBERS_MAX {
        let message = format!("a role may have {MEMBERS_MAX} members");
        return Err(QueryError::new("54000", message));
    }
    if Members::new(of.clone()).is_in(role.oid, member.oid) {
        let message = format!("role \"{role_name}\" is a member of role \"{name}\"");
        return Err(QueryError::new("0LP01", message));
    }
    Ok(None)
}

/// Ends a membership, or only its right to give it on; what is told where there is none.
fn revoke(of: &mut Lists, (role, member): (&RoleInfo, &RoleInfo), admin: bool) -> Option<String> {
    let members = of.entry(role.oid).or_default();
    let Some(at) = members.iter().position(|known| known.to == member.oid) else {
        return Some(format!("role \"{}\" is not a member of role \"{}\"", member.name, role.name));
    };
    match admin {
        true => members[at].admin = false,
        false => {
            members.remove(at);
        }
    }
    None
}

/// `0A000` for a role with members that is to be SUPERUSER: they would own what superusers make.
pub(crate) fn refuse_members(session: &Session, name: &str) -> QueryResult<()> {
    let roles = session.engine().directory().roles()?;
    let Some(role) = roles.iter().find(|role| role.name == name) else { return Ok(()) };
    let rights = session.engine().rights().now(session.engine())?;
    match rights.members.all().any(|(of, _)| of == role.oid) {
        true => Err(QueryError::unsupported("SUPERUSER for a role that has members")),
        false => Ok(()),
    }
}

impl Rights {
    /// Whether a role is another or a member of it; superusers are whatever they like.
    pub(crate) fn is(&self, role: &Role, other: u32) -> bool {
        role.superuser || self.members.is_in(role.oid, other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(u32, u32)]) -> Members {
        let mut of: HashMap<u32, Vec<Member>> = HashMap::new();
        for (role, to) in pairs {
            of.entry(*role).or_default().push(Member { to: *to, by: 0, admin: *to == 3 });
        }
        Members::new(of)
    }

    #[test]
    fn members_of_members_are_members() {
        let members = of(&[(1, 2), (2, 3), (2, 4), (5, 4), (6, 1)]);
        for (role, all) in [(1, vec![6]), (2, vec![1, 6]), (4, vec![1, 2, 5, 6]), (7, vec![])] {
            assert_eq!(members.roles(role).collect::<Vec<_>>(), all);
        }
        assert!(members.is_in(9, 9) && members.is_in(3, 6) && !members.is_in(6, 3));
        assert!(members.may_give(3, 2) && !members.may_give(3, 1) && !members.may_give(4, 2));
        // A cycle that should not be there ends all the same.
        assert!(of(&[(1, 2), (2, 1)]).is_in(1, 1));
        let left = members.without(2);
        assert_eq!(
            left.iter().map(|(role, left)| (*role, left.len())).collect::<Vec<_>>(),
            [(1, 0), (2, 0)]
        );
    }
}
