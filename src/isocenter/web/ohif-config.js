// What OHIF is told before it starts: a function, which web/ohif.py has called with what it knows of the user. All
// addresses follow from where this script was loaded from, so that nothing here knows of hosts, schemes or proxies.
((facts) => {
  const folder = new URL(".", document.currentScript.src);
  const dicomweb = new URL("../dicomweb", folder).href;

  console.time("scriptToView"); // OHIF ends this clock, which its own page starts
  window.PUBLIC_URL = folder.pathname;
  window.config = {
    name: "Isocenter",
    routerBasename: folder.pathname,
    extensions: [],
    modes: [],
    customizationService: {},
    showStudyList: true,
    maxNumberOfWebWorkers: 3,
    showLoadingIndicator: true,
    strictZSpacingForVolumeViewport: true,
    groupEnabledModesFirst: true,
    showErrorDetails: "production",
    defaultDataSourceName: "dicomweb",
    dataSources: [
      {
        namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
        sourceName: "dicomweb",
        configuration: {
          friendlyName: "Isocenter",
          name: "isocenter",
          qidoRoot: dicomweb,
          wadoRoot: dicomweb,
          wadoUriRoot: `${dicomweb}/wado`,
          qidoSupportsIncludeField: true,
          supportsFuzzyMatching: true,
          supportsWildcard: true,
          imageRendering: "wadors",
          thumbnailRendering: "thumbnail",
          thumbnailRequestStrategy: "fetch",
          enableStudyLazyLoad: true,
          dicomUploadEnabled: facts.upload,
          singlepart: "bulkdata,video,pdf",
          // Addresses of bulk data are absolute in our metadata, and may name us as the proxy before us does; only
          // what comes after the root is taken from them.
          bulkDataURI: {
            enabled: true,
            relativeResolution: "studies",
            transform: (url) => dicomweb + url.slice(url.lastIndexOf("/dicomweb/") + "/dicomweb".length),
          },
        },
      },
    ],
  };
})
