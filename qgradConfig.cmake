# find_package(qgrad): qgrad::qgrad where that is installed, and the integer engine alone, qgrad::qgrad_engine and
# qgrad::qgrad_engine_static. find_package(qgrad COMPONENTS engine): the engine, which needs no other package.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
include(${CMAKE_CURRENT_LIST_DIR}/qgradEngineTargets.cmake)
if(EXISTS ${CMAKE_CURRENT_LIST_DIR}/qgradTargets.cmake AND NOT qgrad_FIND_COMPONENTS STREQUAL "engine")
  find_dependency(fmt)
  find_dependency(nlohmann_json)
  include(${CMAKE_CURRENT_LIST_DIR}/qgradTargets.cmake)
endif()
