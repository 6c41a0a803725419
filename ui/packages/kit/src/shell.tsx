// The frame of a portal: menu, top bar, palette, keys, theme, sign-out.
import { Alert, AppShell, Burger, Button, Group, Menu, Modal, NavLink, ScrollArea, Stack, Text, TextInput, useMantineColorScheme } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import { useQueryClient } from '@tanstack/react-query';
import { Link, Outlet, useLocation, useNavigate } from '@tanstack/react-router';
import { useEffect, useMemo, useRef, useState } from 'react';
import { request } from '@warp/api-client';
import { setZone, useZone, words } from './format.ts';
import { useMay, usePortal, useSession, type NavItem } from './portal.tsx';

export function Shell({ jump }: {
  /** Where an id or a number that somebody typed leads to. */
  jump: (text: string) => string | null;
}) {
  const portal = usePortal();
  const here = useLocation();
  const [open, { toggle, close }] = useDisclosure(false);
  const [palette, { open: showPalette, close: hidePalette }] = useDisclosure(false);
  const [help, { open: showHelp, close: hideHelp }] = useDisclosure(false);
  const navigate = useNavigate();
  const pending = useRef(0);
  const items = portal.nav.flatMap((g) => g.items);
  useEffect(close, [here.pathname]); // eslint-disable-line
  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      if ((e.ctrlKey || e.metaKey) && e.key === 'k') {
        e.preventDefault();
        showPalette();
        return;
      }
      const typing = /INPUT|TEXTAREA|SELECT/.test((e.target as HTMLElement).tagName) || document.querySelector('[role=dialog]');
      if (typing || e.ctrlKey || e.metaKey || e.altKey) return;
      if (e.key === '?') showHelp();
      if (e.key === 'g') pending.current = Date.now();
      else if (Date.now() - pending.current < 1_500) {
        pending.current = 0;
        const item = items.find((i) => i.key === e.key);
        if (item) void navigate({ to: item.to } as never);
      }
    };
    addEventListener('keydown', onKey);
    return () => removeEventListener('keydown', onKey);
  }, [items, navigate, showHelp, showPalette]);
  return (
    <AppShell header={{ height: 52 }} navbar={{ width: 210, breakpoint: 'sm', collapsed: { mobile: !open } }} padding="md">
      <AppShell.Header>
        <Group h="100%" px="sm" justify="space-between" wrap="nowrap">
          <Group gap="xs" wrap="nowrap">
            <Burger opened={open} onClick={toggle} hiddenFrom="sm" size="sm" aria-label="Menu" />
            <Text fw={700} style={{ whiteSpace: 'nowrap' }}>WARP<Text span inherit visibleFrom="xs"> {portal.name}</Text></Text>
          </Group>
          <Group gap="xs" wrap="nowrap">
            <Button variant="default" size="xs" onClick={showPalette} aria-keyshortcuts="Control+K Meta+K">Search <Text span size="xs" c="dimmed" ml={6} visibleFrom="sm">Ctrl K</Text></Button>
            <Who help={showHelp} />
          </Group>
        </Group>
      </AppShell.Header>
      <AppShell.Navbar p="xs" aria-label="Pages">
        <ScrollArea>
          {portal.nav.map((group) => <NavGroup key={group.label} label={group.label} items={group.items} here={here.pathname} />)}
        </ScrollArea>
      </AppShell.Navbar>
      <AppShell.Main>
        <Stack maw={1500} mx="auto"><Offline /><Outlet /></Stack>
      </AppShell.Main>
      <Palette opened={palette} close={hidePalette} items={items} jump={jump} />
      <Modal opened={help} onClose={hideHelp} title="Keys">
        <dl className="w-fields">
          {[['Ctrl K', 'search pages, ids, numbers'], ['/', 'first filter'], ['j, k', 'next, previous row'], ['Enter', 'open the row'], ['?', 'this help'], ['Esc', 'close'],
            ...items.filter((i) => i.key).map((i) => [`g ${i.key}`, i.label])].map(([k, w]) => <HelpRow key={k} k={k!} w={w!} />)}
        </dl>
      </Modal>
    </AppShell>
  );
}
function HelpRow({ k, w }: { k: string; w: string }) {
  return <><dt><kbd>{k}</kbd></dt><dd>{w}</dd></>;
}

function NavGroup({ label, items, here }: { label: string; items: NavItem[]; here: string }) {
  const session = useSession();
  const seen = items.filter((i) => !i.needs || session.permissions.includes(i.needs) || session.permissions.includes('*'));
  if (seen.length === 0) return null;
  return (
    <Stack gap={0} mb="xs">
      <Text size="xs" c="dimmed" px="xs">{label}</Text>
      {seen.map((i) => {
        const on = i.to === '/' ? here === '/' : here === i.to || here.startsWith(`${i.to}/`);
        return <NavLink key={i.to} component={Link} {...({ to: i.to } as object)} label={i.label} active={on} variant="filled" aria-current={on ? 'page' : undefined} />;
      })}
    </Stack>
  );
}

function Who({ help }: { help: () => void }) {
  const portal = usePortal();
  const session = useSession();
  const queries = useQueryClient();
  const zone = useZone();
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const out = async (everywhere: boolean) => {
    const path = `${portal.api}/session`;
    const { data } = await request<{ sign_out_url?: string | null }>('delete', path, { query: everywhere ? { everywhere: true } : {} });
    queries.clear();
    location.assign(data.sign_out_url ?? `${portal.place}/`);
  };
  return (
    <Menu>
      <Menu.Target><Button variant="default" size="xs" maw={170}>{session.name}</Button></Menu.Target>
      <Menu.Dropdown>
        <Menu.Label>{words(session.role ?? session.kind)}</Menu.Label>
        <Menu.Item onClick={() => setZone(zone === 'utc' ? 'local' : 'utc')}>Times in {zone === 'utc' ? 'my zone' : 'UTC'}</Menu.Item>
        {(['auto', 'light', 'dark'] as const).filter((s) => s !== colorScheme).map((s) => (
          <Menu.Item key={s} onClick={() => setColorScheme(s)}>{s === 'auto' ? 'Colours of the system' : s === 'light' ? 'Light' : 'Dark'}</Menu.Item>
        ))}
        <Menu.Item onClick={help}>Keys</Menu.Item>
        <Menu.Item component="a" href="/api/docs">API documentation</Menu.Item>
        <Menu.Divider />
        <Menu.Item onClick={() => void out(false)}>Sign out</Menu.Item>
        <Menu.Item onClick={() => void out(true)}>Sign out everywhere</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}

/** Said while the browser itself says that it has no network. */
function Offline() {
  const [online, setOnline] = useState(navigator.onLine);
  useEffect(() => {
    const look = () => setOnline(navigator.onLine);
    addEventListener('online', look);
    addEventListener('offline', look);
    return () => { removeEventListener('online', look); removeEventListener('offline', look); };
  }, []);
  return online ? null : <Alert color="orange" variant="outline" role="status">There is no network: what you see may be old.</Alert>;
}

function Palette({ opened, close, items, jump }: { opened: boolean; close: () => void; items: NavItem[]; jump: (text: string) => string | null }) {
  const [text, setText] = useState('');
  const navigate = useNavigate();
  const may = { of: useSession().permissions };
  useEffect(() => { if (opened) setText(''); }, [opened]);
  const found = useMemo(() => {
    const target = jump(text.trim());
    const pages = items
      .filter((i) => (!i.needs || may.of.includes(i.needs) || may.of.includes('*')) && i.label.toLowerCase().includes(text.trim().toLowerCase()))
      .map((i) => ({ label: i.label, to: i.to }));
    return target ? [{ label: `Open ${text.trim()}`, to: target }, ...pages] : pages;
  }, [text, items]); // eslint-disable-line
  const go = (to: string) => {
    close();
    const [path, query] = to.split('?');
    void navigate({ to: path, search: Object.fromEntries(new URLSearchParams(query)) } as never);
  };
  return (
    <Modal opened={opened} onClose={close} title="Search" yOffset="10vh">
      <form onSubmit={(e) => { e.preventDefault(); if (found[0]) go(found[0].to); }}>
        <TextInput label="Page, id or number" data-autofocus value={text} onChange={(e) => setText(e.currentTarget.value)} autoComplete="off" />
      </form>
      <Stack gap={4} mt="sm">{found.slice(0, 8).map((f) => <Button key={f.to + f.label} variant="default" justify="flex-start" onClick={() => go(f.to)}>{f.label}</Button>)}</Stack>
    </Modal>
  );
}

export { useMay };
