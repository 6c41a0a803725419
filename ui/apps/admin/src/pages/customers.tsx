// Customers: the list, and one with everything that is of it.
import { Code, Text } from '@mantine/core';
import { AsCurl, Answered, Fields, FormButton, Go, List, money, number, Page, Part, Plain, Secret, State, Sure, useMay, When, words, type Column, type FieldSpec } from '@warp/kit';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useParams } from '@tanstack/react-router';
import { useMemo, useState } from 'react';
import { api, type Of } from '../api.ts';
import { choices, nameOf, useCustomers, useDecks, useVendors } from '../names.ts';

type Customer = Of<'Customer'>;
const state = (c: { status: string }) => <State kind={c.status === 'active' ? 'good' : 'off'}>{c.status}</State>;
const columns: Column<Customer>[] = [
  { head: 'Name', cell: (c) => c.name, text: (c) => c.name, narrow: true, width: 'minmax(160px, 2fr)' },
  { head: 'State', cell: state, text: (c) => c.status, narrow: true },
  { head: 'Channels', cell: (c) => c.channels ?? '–', text: (c) => String(c.channels ?? ''), right: true },
  { head: 'Calls/s', cell: (c) => c.cps ?? '–', text: (c) => String(c.cps ?? ''), right: true },
  { head: 'Most a day', cell: (c) => money(c.daily_spend), text: (c) => c.daily_spend?.amount ?? '', right: true },
  { head: 'Currency', cell: (c) => c.currency, text: (c) => c.currency },
  { head: 'Since', cell: (c) => <When at={c.created_at} />, text: (c) => c.created_at, width: 'minmax(175px, 1fr)' },
];
function useFields(): FieldSpec[] {
  const parts = useQuery({ queryKey: ['names', 'partitions'], queryFn: () => api.get('/api/v1/admin/partitions', { query: { limit: 200 } }) });
  return [
    { name: 'name', label: 'Name', required: true },
    { name: 'partition_id', label: 'Partition', kind: 'choice', choices: choices((parts.data?.data ?? []) as Of<'Partition'>[]) },
    { name: 'sell_deck_ids', label: 'Decks that it pays by (ids)', kind: 'many', choices: useDecks().map((d) => d.id) },
    { name: 'channels', label: 'Channels', kind: 'number' },
    { name: 'cps', label: 'Calls per second', kind: 'number' },
    { name: 'daily_spend', label: 'Most that a day may cost', kind: 'money' },
    { name: 'max_rate_per_min', label: 'Most that a minute may cost', kind: 'money' },
  ];
}

export function Customers() {
  const may = useMay('customers:write');
  const fields = useFields();
  const navigate = useNavigate();
  const make = async (v: Record<string, unknown>) => {
    const { data } = await api.post('/api/v1/admin/customers', v as never);
    await navigate({ to: `/customers/${(data as Customer).id}` } as never);
  };
  return (
    <Page title="Customers" actions={may && <FormButton primary label="New customer" title="New customer" fields={fields} submit={make} />}>
      <List path="/api/v1/admin/customers" label="Customers" columns={columns} filters={[{ name: 'name', label: 'Name' }, { name: 'status', label: 'State', choices: ['active', 'suspended'] }]}
        idOf={(c) => c.id} open={(c) => `/customers/${c.id}`} empty={<Text>No customer yet. Make one, give it a trunk and a deck, and it can call.</Text>} />
    </Page>
  );
}

export function CustomerPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const at = { params: { customer_id: id } };
  const queries = useQueryClient();
  const [may, mayView, mayMoney, mayTrunks] = [useMay('customers:write'), useMay('views:write'), useMay('ledger:read'), useMay('trunks:write')];
  const fields = useFields();
  const decks = useDecks();
  const [secret, setSecret] = useState<string | null>(null);
  const customer = useQuery({ queryKey: ['customer', id], queryFn: () => api.get('/api/v1/admin/customers/{customer_id}', at) });
  const bans = useQuery({ queryKey: ['customer', id, 'bans'], enabled: mayMoney, queryFn: () => api.get('/api/v1/admin/customers/{customer_id}/bans', at) });
  const again = () => queries.invalidateQueries();
  const fixed = useMemo(() => ({ customer: id }), [id]);
  return (
    <Answered query={customer}>{({ data }) => {
      const c = data as Customer;
      const turn = c.status === 'active' ? 'suspended' : 'active';
      return (
        <Page title={c.name} actions={<>
          {may && <FormButton label="Change" title={`Change ${c.name}`} fields={fields} initial={c as never} submit={(v) => api.patch('/api/v1/admin/customers/{customer_id}', v as never, { ...at, version: c.version }).then(again)} />}
          {may && <Sure what="the customer" name={c.name} verb={turn === 'suspended' ? 'Suspend' : 'Activate'} act={() => api.patch('/api/v1/admin/customers/{customer_id}', { status: turn } as never, { ...at, version: c.version }).then(again)} />}
          {mayView && <FormButton label="See as this customer" title="A key to see what the customer sees" save="Make the key" fields={[{ name: 'reason', label: 'Why', required: true, hint: 'The customer sees who looked, and why.' }]}
            submit={async (v) => setSecret(((await api.post('/api/v1/admin/customers/{customer_id}/views', v as never, at)).data as Of<'NewApiKey'>).secret)} />}
          <AsCurl path="/api/v1/admin/customers/{customer_id}" options={at} />
        </>}>
          <Secret text={secret} close={() => setSecret(null)} />
          <Part title="Customer" actions={<Go to="/calls" search={{ customer: id }}>Its calls</Go>}>
            <Fields of={[
              ['State', state(c)], ['Partition', c.partition_id ?? '–'], ['Pays by', c.sell_deck_ids.map((d) => <div key={d}><Go to={`/decks/${d}`}>{nameOf(decks, d)}</Go></div>)],
              ['Channels', c.channels ?? 'no limit'], ['Calls per second', c.cps ?? 'no limit'], ['Most a day', money(c.daily_spend)], ['Most a minute', money(c.max_rate_per_min)],
              ['Currency', c.currency], ['Day begins at', `UTC${c.utc_offset_min < 0 ? '−' : '+'}${Math.abs(c.utc_offset_min)} min`], ['Id', <Code key="i">{c.id}</Code>], ['Version', c.version],
            ]} />
          </Part>
          {mayMoney && (
            <Part title="Billing accounts">
              <Answered query={bans}>{({ data: list }) => (
                <Plain label="Billing accounts" head={['Account', 'Kind', 'Credit limit']} rows={(list as Of<'Ban'>[]).map((b) => [<Go key="b" to={`/accounts/${b.id}`}>{b.name}</Go>, b.mode, money(b.credit_limit)])} />
              )}</Answered>
            </Part>
          )}
          <Part title="Trunks" actions={mayTrunks && <FormButton label="New trunk" title={`New trunk of ${c.name}`} fields={[{ name: 'name', label: 'Name', required: true }, { name: 'channels', label: 'Channels', kind: 'number' }, { name: 'cps', label: 'Calls per second', kind: 'number' }]}
            submit={(v) => api.post('/api/v1/admin/customers/{customer_id}/trunks', v as never, at).then(again)} />}>
            <List path="/api/v1/admin/trunks" label="Trunks" columns={trunkColumns} fixed={fixed} idOf={(t) => t.id} empty={<Text>No trunk yet.</Text>} />
          </Part>
        </Page>
      );
    }}</Answered>
  );
}

type Trunk = Of<'Trunk'>;
const trunkColumns: Column<Trunk>[] = [
  { head: 'Name', cell: (t) => <Go to="/calls" search={{ trunk: t.id }}>{t.name}</Go>, text: (t) => t.name, narrow: true, width: 'minmax(160px, 2fr)' },
  { head: 'State', cell: state, text: (t) => t.status, narrow: true },
  { head: 'Channels in force', cell: (t) => t.limits.in_force.channels ?? '–', text: (t) => String(t.limits.in_force.channels ?? ''), right: true, width: '150px' },
  { head: 'Calls/s in force', cell: (t) => t.limits.in_force.cps ?? '–', text: (t) => String(t.limits.in_force.cps ?? ''), right: true, width: '150px' },
  { head: 'Changed', cell: (t) => <When at={t.updated_at} />, text: (t) => t.updated_at, width: 'minmax(175px, 1fr)' },
];
export function Trunks() {
  const customers = useCustomers();
  const columns = [...trunkColumns.slice(0, 1), { head: 'Customer', cell: (t: Trunk) => <Go to={`/customers/${t.customer_id}`}>{nameOf(customers, t.customer_id)}</Go>, text: (t: Trunk) => t.customer_id, width: 'minmax(140px, 1fr)' }, ...trunkColumns.slice(1)];
  return (
    <Page title="Trunks">
      <List path="/api/v1/admin/trunks" label="Trunks" columns={columns} filters={[{ name: 'name', label: 'Name' }, { name: 'customer', label: 'Customer' }, { name: 'partition', label: 'Partition' }]} idOf={(t) => t.id}
        empty={<Text>No trunk yet. Make one at its customer.</Text>} />
    </Page>
  );
}

type Num = Of<'Number'>;
export function Numbers() {
  const may = useMay('numbers:write');
  const [vendors, customers, queries] = [useVendors(), useCustomers(), useQueryClient()];
  const again = () => queries.invalidateQueries({ queryKey: ['/api/v1/admin/numbers'] });
  const columns: Column<Num>[] = [
    { head: 'Number', cell: (n) => number(n.number), text: (n) => n.number, narrow: true, width: 'minmax(150px, 1fr)' },
    { head: 'State', cell: (n) => <State kind={n.state === 'assigned' ? 'good' : 'off'}>{words(n.state)}</State>, text: (n) => n.state, narrow: true },
    { head: 'Customer', cell: (n) => nameOf(customers, n.customer_id), text: (n) => n.customer_id ?? '', width: 'minmax(140px, 1fr)' },
    { head: 'Vendor', cell: (n) => nameOf(vendors, n.vendor_id), text: (n) => n.vendor_id ?? '', width: 'minmax(120px, 1fr)' },
    { head: 'Targets', cell: (n) => n.targets.length, text: (n) => String(n.targets.length), right: true },
    ...(may ? [{
      head: 'Do', text: () => '', width: '120px',
      cell: (n: Num) => (n.customer_id
        ? <Sure what="the number" name={n.number} verb="Release" act={() => api.post('/api/v1/admin/numbers/{number_id}/release', undefined as never, { params: { number_id: n.id } }).then(again)} />
        : <FormButton label="Assign" title={`Assign ${number(n.number)}`} save="Assign" fields={[{ name: 'customer_id', label: 'Customer', kind: 'choice', choices: choices(customers), required: true }]}
            submit={(v) => api.post('/api/v1/admin/numbers/{number_id}/assign', v as never, { params: { number_id: n.id } }).then(again)} />),
    }] : []),
  ];
  return (
    <Page title="Numbers" actions={may && <FormButton primary label="Add a number" title="A number that a vendor brings" fields={[{ name: 'number', label: 'Number', required: true, hint: '+12025550100' },
      { name: 'vendor_id', label: 'Vendor', kind: 'choice', choices: choices(vendors) }, { name: 'customer_id', label: 'Customer', kind: 'choice', choices: choices(customers) }]}
      submit={(v) => api.post('/api/v1/admin/numbers', v as never).then(again)} />}>
      <List path="/api/v1/admin/numbers" label="Numbers" columns={columns} idOf={(n) => n.id} empty={<Text>No number yet.</Text>}
        filters={[{ name: 'number', label: 'Number' }, { name: 'state', label: 'State', choices: ['inventory', 'assigned', 'ageing'] }, { name: 'customer', label: 'Customer' }, { name: 'vendor', label: 'Vendor' }]} />
    </Page>
  );
}
