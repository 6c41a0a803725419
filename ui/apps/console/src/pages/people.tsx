// Who may come in, what happened, and who changed what.
import { Button, Code, Text } from '@mantine/core';
import { FormButton, List, Page, State, useMay, useUrl, When, words, type Column } from '@warp/kit';
import { useQueryClient } from '@tanstack/react-query';
import { api, type Of } from '../api.ts';

type User = Of<'User'>;
const ROLES = ['owner', 'admin', 'engineer', 'billing', 'read_only'];
export function Users() {
  const may = useMay('users:write');
  const queries = useQueryClient();
  const again = () => queries.invalidateQueries({ queryKey: ['/api/v1/users'] });
  const columns: Column<User>[] = [
    { head: 'Name', cell: (u) => u.name, text: (u) => u.name, narrow: true, width: 'minmax(140px, 1fr)' },
    { head: 'Role', cell: (u) => words(u.role), text: (u) => u.role, narrow: true },
    { head: 'State', cell: (u) => <State kind={u.status === 'active' ? 'good' : 'off'}>{u.status}</State>, text: (u) => u.status },
    { head: 'Subject', cell: (u) => <Code>{u.subject}</Code>, text: (u) => u.subject, width: 'minmax(160px, 1fr)' },
    { head: 'Last seen', cell: (u) => <When at={u.last_seen_at} />, text: (u) => u.last_seen_at ?? '', width: 'minmax(175px, 1fr)' },
    ...(may ? [{
      head: 'Change', text: () => '', width: '110px',
      cell: (u: User) => <FormButton label="Change" title={`Change ${u.name}`} initial={u as never}
        fields={[{ name: 'name', label: 'Name', required: true }, { name: 'role', label: 'Role', kind: 'choice' as const, choices: ROLES, required: true },
          { name: 'status', label: 'State', kind: 'choice' as const, choices: ['active', 'disabled'], required: true }]}
        submit={(v) => api.patch('/api/v1/users/{user_id}', v as never, { params: { user_id: u.id }, version: u.version }).then(again)} />,
    }] : []),
  ];
  return (
    <Page title="Users" actions={may && <FormButton primary label="New user" title="New user" submit={(v) => api.post('/api/v1/users', v as never).then(again)} fields={[
      { name: 'name', label: 'Name', required: true }, { name: 'subject', label: 'Subject at the issuer', required: true, hint: 'What the issuer calls this person (sub).' },
      { name: 'role', label: 'Role', kind: 'choice', choices: ROLES, required: true }, { name: 'email', label: 'E-mail' }]} />}>
      <List path="/api/v1/users" label="Users" columns={columns} filters={[{ name: 'role', label: 'Role', choices: ROLES }]} idOf={(u) => u.id} empty={<Text>Nobody yet.</Text>} />
    </Page>
  );
}

type Event = Of<'EventView'>;
export function Events() {
  const columns: Column<Event>[] = [
    { head: 'When', cell: (e) => <When at={e.created_at} />, text: (e) => e.created_at, narrow: true, width: 'minmax(175px, 1fr)' },
    { head: 'Type', cell: (e) => e.type, text: (e) => e.type, narrow: true, width: 'minmax(140px, 1fr)' },
    { head: 'Data', cell: (e) => <Code>{JSON.stringify(e.data)}</Code>, text: (e) => JSON.stringify(e.data), width: 'minmax(200px, 3fr)' },
  ];
  return (
    <Page title="Events">
      <List path="/api/v1/events" label="Events" columns={columns} idOf={(e) => e.id} live
        filters={[{ name: 'type', label: 'Type', choices: ['balance.low', 'limit.reached', 'webhook.disabled', 'key.created', 'key.rotated', 'key.revoked', 'user.created', 'user.changed', 'user.deleted'] }]}
        empty={<Text>Nothing happened yet. Calls are told to webhooks and stand under Calls.</Text>} />
    </Page>
  );
}

type Line = Of<'AuditEntry'>;
export function Audit() {
  const [, setUrl] = useUrl();
  const columns: Column<Line>[] = [
    { head: 'When', cell: (a) => <When at={a.at} />, text: (a) => a.at, narrow: true, width: 'minmax(175px, 1fr)' },
    { head: 'Who', cell: (a) => a.actor, text: (a) => a.actor, width: 'minmax(140px, 1fr)' },
    { head: 'What', cell: (a) => a.action, text: (a) => a.action, narrow: true },
    { head: 'On', cell: (a) => <Button variant="transparent" size="compact-sm" px={0} onClick={() => setUrl({ object: a.object })}>{a.object}</Button>, text: (a) => a.object, width: 'minmax(160px, 1fr)' },
    { head: 'Before', cell: (a) => <Code>{a.before ? JSON.stringify(a.before) : '–'}</Code>, text: (a) => JSON.stringify(a.before ?? null), width: 'minmax(140px, 2fr)' },
    { head: 'Since then', cell: (a) => <Code>{a.detail ? JSON.stringify(a.detail) : '–'}</Code>, text: (a) => JSON.stringify(a.detail ?? null), width: 'minmax(140px, 2fr)' },
    { head: 'Request', cell: (a) => a.request_id, text: (a) => a.request_id },
  ];
  return (
    <Page title="Audit log">
      <List path="/api/v1/audit" label="Audit log" columns={columns} idOf={(a) => String(a.id)}
        filters={[{ name: 'object', label: 'On' }, { name: 'actor', label: 'Who' }, { name: 'action', label: 'What' }, { name: 'at[gte]', label: 'From', kind: 'moment' }, { name: 'at[lt]', label: 'To', kind: 'moment' }]}
        empty={<Text>Nothing was changed yet.</Text>} />
    </Page>
  );
}
