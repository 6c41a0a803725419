// Trunks: the list, and one with its limits, its access and what to write into a PBX.
import { Badge, Button, Code, Group, Select, Stack, Text } from '@mantine/core';
import { AsCurl, Answered, Failed, Fields, FormButton, Go, List, money, Page, Part, Plain, State, Sure, useMay, When, type Column, type FieldSpec } from '@warp/kit';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useNavigate, useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { api, type Of } from '../api.ts';

type Trunk = Of<'Trunk'>;
const CLASSES = ['domestic', 'toll_free', 'canada', 'us_territory', 'nanp_country', 'international', 'premium', 'satellite', 'high_risk', 'personal', 'special'];
const fields: FieldSpec[] = [
  { name: 'name', label: 'Name', required: true },
  { name: 'channels', label: 'Channels', kind: 'number', hint: 'Calls at once; empty: as the customer.' },
  { name: 'cps', label: 'Calls per second', kind: 'number' },
  { name: 'destinations', label: 'Destinations that it may call', kind: 'many', choices: CLASSES },
  { name: 'daily_spend', label: 'Most that a day may cost', kind: 'money' },
];
const status = (t: Trunk) => <State kind={t.status === 'active' ? 'good' : 'off'}>{t.status}</State>;
const columns: Column<Trunk>[] = [
  { head: 'Name', cell: (t) => t.name, text: (t) => t.name, narrow: true, width: 'minmax(160px, 2fr)' },
  { head: 'State', cell: status, text: (t) => t.status, narrow: true },
  { head: 'Channels', cell: (t) => t.channels ?? '–', text: (t) => String(t.channels ?? ''), right: true },
  { head: 'Calls/s', cell: (t) => t.cps ?? '–', text: (t) => String(t.cps ?? ''), right: true },
  { head: 'Most a day', cell: (t) => money(t.daily_spend), text: (t) => t.daily_spend?.amount ?? '', right: true },
  { head: 'Changed', cell: (t) => <When at={t.updated_at} />, text: (t) => t.updated_at, width: 'minmax(175px, 1fr)' },
];

export function Trunks() {
  const may = useMay('trunks:write');
  const navigate = useNavigate();
  const make = async (values: Record<string, unknown>) => {
    const { data } = await api.post('/api/v1/trunks', values as never);
    await navigate({ to: `/trunks/${(data as Trunk).id}` } as never);
  };
  return (
    <Page title="Trunks" actions={may && <FormButton primary label="New trunk" title="New trunk" fields={fields} submit={make} />}>
      <List path="/api/v1/trunks" label="Trunks" columns={columns} filters={[{ name: 'name', label: 'Name' }]} idOf={(t) => t.id} open={(t) => `/trunks/${t.id}`}
        empty={<Text>A trunk is how your PBX reaches us: by its address, or by user and password.</Text>} />
    </Page>
  );
}

export function TrunkPage() {
  const { id } = useParams({ strict: false }) as { id: string };
  const at = { params: { trunk_id: id } };
  const queries = useQueryClient();
  const navigate = useNavigate();
  const may = useMay('trunks:write');
  const trunk = useQuery({ queryKey: ['trunk', id], queryFn: () => api.get('/api/v1/trunks/{trunk_id}', at) });
  const ips = useQuery({ queryKey: ['trunk', id, 'ips'], queryFn: () => api.get('/api/v1/trunks/{trunk_id}/ips', at) });
  const users = useQuery({ queryKey: ['trunk', id, 'users'], queryFn: () => api.get('/api/v1/trunks/{trunk_id}/credentials', at) });
  const inbound = useQuery({ queryKey: ['trunk', id, 'inbound'], queryFn: () => api.get('/api/v1/trunks/{trunk_id}/inbound', at) });
  const again = () => queries.invalidateQueries({ queryKey: ['trunk', id] });
  const [trouble, setTrouble] = useState<unknown>(null);
  const doing = (act: Promise<unknown>) => void act.then(again).then(() => setTrouble(null)).catch(setTrouble);
  return (
    <Answered query={trunk}>{({ data }) => {
      const t = data as Trunk;
      const force = t.limits.in_force;
      return (
        <Page title={t.name} actions={<>
          {may && <FormButton label="Change" title={`Change ${t.name}`} fields={[...fields, { name: 'status', label: 'State', kind: 'choice', choices: ['active', 'disabled'], required: true }]}
            initial={t as never} submit={(v) => api.patch('/api/v1/trunks/{trunk_id}', v as never, { ...at, version: t.version }).then(again)} />}
          {may && <Sure what="the trunk" name={t.name} act={() => api.delete('/api/v1/trunks/{trunk_id}', at).then(() => navigate({ to: '/trunks' } as never))} />}
          <AsCurl path="/api/v1/trunks/{trunk_id}" options={at} />
        </>}>
          {trouble !== null && <Failed why={trouble} />}
          <Part title="Overview" actions={<Go to="/calls" search={{ trunk: id }}>Its calls</Go>}>
            <Fields of={[
              ['State', status(t)],
              ['Channels in force', force.channels ?? 'no limit'],
              ['Calls per second in force', force.cps ?? 'no limit'],
              ['Most a day', money(force.daily_spend)],
              ['Most a minute', money(force.max_rate_per_min)],
              ['May call', <Group key="d" gap={4}>{(t.destinations ?? []).map((d) => <Badge key={d} variant="default" tt="none">{String(d).replaceAll('_', ' ')}</Badge>)}</Group>],
              ['Longest call', t.max_duration_s ? `${t.max_duration_s} s` : '–'],
              ['Billing account', t.ban_id],
              ['Id', <Code key="i">{t.id}</Code>],
              ['Version', t.version],
            ]} />
          </Part>
          <Part title="Addresses that may call" actions={may && <FormButton label="Add" title="Add an address" fields={[{ name: 'address', label: 'Address or network', required: true, hint: '192.0.2.10 or 192.0.2.0/28' }]}
            submit={(v) => api.post('/api/v1/trunks/{trunk_id}/ips', v as never, at).then(again)} />}>
            <Answered query={ips}>{({ data: list }) => (
              <Plain label="Addresses" head={['Address', 'Since', '']} rows={(list as Of<'TrunkIp'>[]).map((ip) => [
                <Code key="a">{ip.address}</Code>, <When key="s" at={ip.created_at} />,
                may && <Button key="x" size="xs" variant="default" aria-label={`Remove ${ip.address}`} onClick={() => doing(api.delete('/api/v1/trunks/{trunk_id}/ips', { ...at, query: { address: ip.address } }))}>Remove</Button>,
              ])} />
            )}</Answered>
          </Part>
          <Part title="Users that may call" actions={may && <FormButton label="Add" title="Add a user"
            fields={[{ name: 'username', label: 'User', required: true }, { name: 'password', label: 'Password', kind: 'secret', required: true }]}
            submit={(v) => api.post('/api/v1/trunks/{trunk_id}/credentials', v as never, at).then(again)} />}>
            <Answered query={users}>{({ data: list }) => (
              <Plain label="Users" head={['User', 'Realm', 'Since', '']} rows={(list as Of<'Credential'>[]).map((c) => [
                <Code key="u">{c.username}</Code>, c.realm, <When key="s" at={c.created_at} />,
                may && <Button key="x" size="xs" variant="default" aria-label={`Remove ${c.username}`}
                  onClick={() => doing(api.delete('/api/v1/trunks/{trunk_id}/credentials/{username}', { params: { trunk_id: id, username: c.username } }))}>Remove</Button>,
              ])} />
            )}</Answered>
          </Part>
          <Part title="Where calls to your numbers go" actions={may && inbound.data && <FormButton label="Change" title="Where calls to your numbers go"
            fields={[{ name: 'hosts', label: 'Names of the PBX', kind: 'many', hint: 'pbx.example.com' },
              { name: 'addresses', label: 'Addresses of the PBX', kind: 'many', hint: '192.0.2.10:5060' },
              { name: 'transport', label: 'Transport', kind: 'choice', choices: ['udp', 'tcp', 'tls', 'auto'] },
              { name: 'number_format', label: 'Numbers are sent as', kind: 'choice', choices: ['plus_e164', 'e164', 'national'] }]}
            initial={inbound.data.data as never} submit={(v) => api.put('/api/v1/trunks/{trunk_id}/inbound', v as never, at).then(again)} />}>
            <Answered query={inbound}>{({ data: d }) => {
              const i = d as Of<'InboundTargets'>;
              return <Fields of={[['Addresses', [...i.hosts, ...i.addresses].join(', ')], ['Transport', i.transport], ['Numbers are sent as', i.number_format]]} />;
            }}</Answered>
          </Part>
          <Snippets trunk={t} user={(users.data?.data as Of<'Credential'>[] | undefined)?.[0]?.username} />
        </Page>
      );
    }}</Answered>
  );
}

/** What to write into a PBX, with the values of this trunk. */
function Snippets({ trunk, user }: { trunk: Trunk; user?: string }) {
  const [pbx, setPbx] = useState('Asterisk');
  const host = location.hostname;
  const name = trunk.name.toLowerCase().replace(/[^a-z0-9]+/g, '-') || 'warp';
  const texts: Record<string, string> = {
    Asterisk: `; pjsip.conf
[${name}]
type=endpoint
transport=transport-udp
context=from-warp
disallow=all
allow=ulaw,alaw
aors=${name}
${user ? `outbound_auth=${name}\n` : ''}
[${name}]
type=aor
contact=sip:${host}:5060
qualify_frequency=30
${user ? `\n[${name}]\ntype=auth\nauth_type=digest\nusername=${user}\npassword=THE_PASSWORD\n` : ''}
[${name}]
type=identify
endpoint=${name}
match=${host}`,
    FreeSWITCH: `<!-- sip_profiles/external/${name}.xml -->
<include>
  <gateway name="${name}">
    <param name="proxy" value="${host}:5060"/>
    <param name="register" value="false"/>
    <param name="username" value="${user ?? 'unused'}"/>
    <param name="password" value="${user ? 'THE_PASSWORD' : 'unused'}"/>
    <param name="caller-id-in-from" value="true"/>
    <param name="ping" value="30"/>
  </gateway>
</include>`,
    Kamailio: `# kamailio.cfg: towards WARP
route[TO_WARP] {
    $du = "sip:${host}:5060";
    t_on_failure("WARP_FAILED");
    route(RELAY);
}
# dispatcher.list
1 sip:${host}:5060 0 0`,
    'Cisco CUBE': `voice class uri 100 sip
 host ipv4:${host}
dial-peer voice 100 voip
 destination-pattern +.T
 session protocol sipv2
 session target ipv4:${host}:5060
 voice-class codec 1
 dtmf-relay rtp-nte
 no vad${user ? `\n authentication username ${user} password THE_PASSWORD` : ''}`,
    '3CX': `SIP trunk, generic:
  Registrar / server:        ${host}
  Port:                      5060
  Type of authentication:    ${user ? `outbound, user ${user}, THE_PASSWORD` : 'do not require, IP based'}
  Main trunk number:         one of your numbers, +E.164
  Simultaneous calls:        ${trunk.limits.in_force.channels ?? 'as many as you need'}`,
  };
  return (
    <Part title="For your PBX">
      <Stack>
        <Select label="PBX" data={Object.keys(texts)} value={pbx} onChange={(v) => setPbx(v ?? 'Asterisk')} allowDeselect={false} w={220} />
        <Code block tabIndex={0}>{texts[pbx]}</Code>
        <Text size="sm" c="dimmed">The address is that of this page; put the SIP address of your carrier there if it is another one.</Text>
      </Stack>
    </Part>
  );
}
