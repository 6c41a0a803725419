// Starts a portal: styles, theme, queries, router.
import '@mantine/core/styles.css';
import './kit.css';
import { Alert, Button, MantineProvider } from '@mantine/core';
import { QueryClientProvider } from '@tanstack/react-query';
import { createRootRoute, createRoute, createRouter, lazyRouteComponent, RouterProvider, type ErrorComponentProps } from '@tanstack/react-router';
import { StrictMode, type ComponentType } from 'react';
import { createRoot } from 'react-dom/client';
import { Go, Page } from './parts.tsx';
import { Gate, makeQueries, type Portal } from './portal.tsx';
import { Shell } from './shell.tsx';
import { theme, variables } from './theme.ts';

/** Path of a page → the module that has it, and the name of the component there. */
export type Pages = Record<string, [() => Promise<Record<string, unknown>>, string]>;

export function start(portal: Portal, pages: Pages, jump: (text: string) => string | null) {
  const root = createRootRoute({ component: () => <Gate portal={portal}><Shell jump={jump} /></Gate>, notFoundComponent: Nowhere, errorComponent: Broken });
  const routes = Object.entries(pages).map(([path, [load, name]]) =>
    createRoute({
      getParentRoute: () => root, path,
      component: lazyRouteComponent(load as () => Promise<Record<string, ComponentType>>, name),
      errorComponent: Broken,
    }));
  const router = createRouter({
    routeTree: root.addChildren(routes), basepath: portal.place, defaultPreload: 'intent', scrollRestoration: true,
    // Filters are texts: a number that somebody looks for stays what it is.
    parseSearch: (text) => Object.fromEntries(new URLSearchParams(text)),
    stringifySearch: (of) => {
      const text = new URLSearchParams(Object.entries(of).filter(([, v]) => v !== undefined) as [string, string][]).toString();
      return text ? `?${text}` : '';
    },
  });
  createRoot(document.getElementById('root')!).render(
    <StrictMode>
      <MantineProvider theme={theme} cssVariablesResolver={variables} defaultColorScheme="auto">
        <QueryClientProvider client={makeQueries()}><RouterProvider router={router} /></QueryClientProvider>
      </MantineProvider>
    </StrictMode>,
  );
}

function Nowhere() {
  return <Page title="There is no such page"><Go to="/">Home</Go></Page>;
}

/** A page that broke says so; the others go on. */
function Broken({ error }: ErrorComponentProps) {
  return (
    <Alert color="red" variant="outline" role="alert" title="This page broke.">
      <p>{error instanceof Error ? error.message : String(error)}</p>
      <Button variant="default" onClick={() => location.reload()}>Load it again</Button>
    </Alert>
  );
}
