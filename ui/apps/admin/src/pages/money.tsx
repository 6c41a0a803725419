// Accounts, the ledger with its corrections, and money that nodes have borrowed.
import { Code, Text } from '@mantine/core';
import { AsCurl, Answered, Fields, FormButton, Go, List, money, Page, Part, State, useMay, When, words, type Column } from '@warp/kit';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { useMemo } from 'react';
import { api, type Of } from '../api.ts';
import { nameOf, useCustomers } from '../names.ts';

type Ban = Of<'Ban'>;
export function Accounts() {
  const customers = useCustomers();
  const columns: Column<Ban>[] = [
    { head: 'Account', cell: (b) => b.name, text: (b) => b.name, narrow: true, width: 'minmax(140px, 1fr)' },
    { head: 'Customer', cell: (b) => <Go to={`/customers/${b.customer_id}`}>{nameOf(customers, b.customer_id)}</Go>, text: (b) => b.customer_id, narrow: true, width: 'minmax(140px, 1fr)' },
    { head: 'Kind', cell: (b) => b.mode, text: (b) => b.mode },
    { head: 'Credit limit', cell: (b) => money(b.credit_limit), text: (b) => b.credit_limit?.amount ?? '', right: true },
    { head: 'Alarm below', cell: (b) => money(b.low_balance), text: (b) => b.low_balance?.amount ?? '', right: true },
    { head: 'Terms', cell: (b) => `${b.terms_days} days`, text: (b) => String(b.terms_days), right: true },
  ];
  return (
    <Page title="Accounts">
      <List path="/api/v1/admin/bans" label="Accounts" columns={columns} filters={[{ name: 'name', label: 'Name' }, { name: 'customer', label: 'Customer' }, { name: 'mode', label: 'Kind', choices: ['prepaid', 'postpaid'] }]}
        idOf={(b) => b.id} open={(b) => `/accounts/${b.id}`} empty={<Text>No account yet: each customer gets one.</Text>} />
    </Page>
  );
}

type Posting = Of<'Posting'>;
function usePostingColumns(): Column<Posting>[] {
  const may = useMay('ledger:write');
  const [customers, queries] = [useCustomers(), useQueryClient()];
  return useMemo(() => [
    { head: 'When', cell: (p) => <When at={p.created_at} />, text: (p) => p.created_at, narrow: true, width: 'minmax(175px, 1fr)' },
    { head: 'Customer', cell: (p) => nameOf(customers, p.customer_id), text: (p) => p.customer_id, width: 'minmax(130px, 1fr)' },
    { head: 'Kind', cell: (p) => words(p.kind), text: (p) => p.kind },
    { head: 'Amount', cell: (p) => money(p.amount), text: (p) => p.amount.amount, right: true, narrow: true, width: 'minmax(130px, 1fr)' },
    { head: 'Calls', cell: (p) => p.calls ?? '–', text: (p) => String(p.calls ?? ''), right: true },
    { head: 'Why', cell: (p) => p.reason || '–', text: (p) => p.reason, width: 'minmax(140px, 2fr)' },
    { head: 'Who', cell: (p) => p.actor, text: (p) => p.actor, width: 'minmax(120px, 1fr)' },
    ...(may ? [{ head: 'Do', text: () => '', width: '120px', cell: (p: Posting) => (p.kind === 'top_up' || p.kind === 'adjustment') && !p.reversed_by && (
      <FormButton label="Reverse" title={`Reverse ${money(p.amount)}`} save="Reverse" fields={[{ name: 'reason', label: 'Why', required: true }]}
        submit={(v) => api.post('/api/v1/admin/ledger/{posting_id}/reversal', v as never, { params: { posting_id: p.id } }).then(() => queries.invalidateQueries())} />
    ) }] : []),
  ], [customers, may, queries]);
}
export function Ledger() {
  return (
    <Page title="Ledger">
      <List path="/api/v1/admin/ledger" label="Postings" columns={usePostingColumns()} filters={[{ name: 'customer', label: 'Customer' }, { name: 'ban', label: 'Account' }]} idOf={(p) => p.id} live empty={<Text>Nothing was posted yet.</Text>} />
    </Page>
  );
}

export function AccountPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const at = { params: { ban_id: id } };
  const may = useMay('ledger:write');
  const queries = useQueryClient();
  const columns = usePostingColumns();
  const fixed = useMemo(() => ({ ban: id }), [id]);
  const ban = useQuery({ queryKey: ['ban', id], queryFn: () => api.get('/api/v1/admin/bans/{ban_id}', at) });
  const balance = useQuery({ queryKey: ['ban', id, 'balance'], refetchInterval: 5_000, queryFn: () => api.get('/api/v1/admin/bans/{ban_id}/balance', at) });
  const again = () => queries.invalidateQueries();
  return (
    <Answered query={ban}>{({ data }) => {
      const b = data as Ban;
      const amount = { name: 'amount', label: 'Amount', kind: 'money' as const, currency: b.currency, required: true };
      const reason = { name: 'reason', label: 'Why', required: true };
      return (
        <Page title={b.name} actions={<>
          {may && <FormButton label="Top up" title={`Top up ${b.name}`} save="Top up" fields={[amount, reason]} submit={(v) => api.post('/api/v1/admin/bans/{ban_id}/top-ups', v as never, at).then(again)} />}
          {may && <FormButton label="Adjust" title={`Adjust ${b.name}`} save="Adjust" fields={[amount, { name: 'direction', label: 'Direction', kind: 'choice', choices: ['credit', 'debit'], required: true }, reason]}
            submit={(v) => api.post('/api/v1/admin/bans/{ban_id}/adjustments', v as never, at).then(again)} />}
          <AsCurl path="/api/v1/admin/bans/{ban_id}/balance" options={at} />
        </>}>
          <Part title="Balance">
            <Answered query={balance}>{({ data: x }) => {
              const now = x as Of<'Balance'>;
              return <Fields of={[['Customer', <Go key="c" to={`/customers/${b.customer_id}`}>open it</Go>], ['Kind', b.mode], ['Balance', money(now.balance)], ['Held by calls', money(now.held)], ['Credit limit', money(now.credit_limit)],
                ['Free', now.free ? money(now.free) : 'no limit'], ['Id', <Code key="i">{b.id}</Code>]]} />;
            }}</Answered>
          </Part>
          <Part title="Postings"><List path="/api/v1/admin/ledger" label="Postings" columns={columns} fixed={fixed} idOf={(p) => p.id} empty={<Text>Nothing was posted yet.</Text>} /></Part>
        </Page>
      );
    }}</Answered>
  );
}

type Lease = Of<'CreditLease'>;
export function Leases() {
  const may = useMay('ledger:write');
  const queries = useQueryClient();
  const columns: Column<Lease>[] = [
    { head: 'Number', cell: (l) => l.number, text: (l) => String(l.number), narrow: true, width: '100px' },
    { head: 'Account', cell: (l) => <Go to={`/accounts/${l.ban_id}`}>{l.ban_id}</Go>, text: (l) => l.ban_id, width: 'minmax(160px, 1fr)' },
    { head: 'Node', cell: (l) => l.node, text: (l) => l.node },
    { head: 'Lent', cell: (l) => money(l.granted), text: (l) => l.granted.amount, right: true, narrow: true },
    { head: 'Held', cell: (l) => money(l.held), text: (l) => l.held.amount, right: true },
    { head: 'Posted', cell: (l) => money(l.posted), text: (l) => l.posted.amount, right: true },
    { head: 'Ends', cell: (l) => <When at={l.expires_at} />, text: (l) => l.expires_at, width: 'minmax(175px, 1fr)' },
    { head: 'State', cell: (l) => <State kind={l.closed ? 'off' : 'good'}>{l.closed ? 'closed' : 'open'}</State>, text: (l) => String(l.closed) },
    ...(may ? [{ head: 'Do', text: () => '', width: '120px', cell: (l: Lease) => !l.closed && <FormButton label="Release" title={`Release lease ${l.number}`} save="Release" fields={[{ name: 'reason', label: 'Why', required: true }]}
      submit={(v) => api.post('/api/v1/admin/leases/{lease_number}/release', v as never, { params: { lease_number: l.number } }).then(() => queries.invalidateQueries())} /> }] : []),
  ];
  return (
    <Page title="Leases">
      <List path="/api/v1/admin/leases" label="Leases" columns={columns} filters={[{ name: 'ban', label: 'Account' }]} idOf={(l) => String(l.number)} empty={<Text>No node has borrowed money: there is no prepaid account with a trunk.</Text>} />
    </Page>
  );
}
